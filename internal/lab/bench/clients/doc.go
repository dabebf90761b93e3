// Package clients measures a running server with many SDK clients: what an idle connection costs,
// and how long it takes from a reader's receipt to its author. The clients speak MSYNC in Go, as
// the SDK does, over real sockets: a thousand SDKs would measure Node.
package clients
