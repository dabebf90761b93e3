//go:build cgo && linux

package runtime

// Pebble has its blocks and memory tables from the C library, which by default keeps an arena for
// each few threads and gives back little of any of them: for a cache of 64 MiB it held 310. With
// one arena for all it keeps to what is used. It has to be told before there are threads.

// #include <malloc.h>
//
// __attribute__((constructor)) static void share_one_arena(void) {
// #ifdef M_ARENA_MAX
// 	mallopt(M_ARENA_MAX, 1);
// #endif
// }
import "C"
