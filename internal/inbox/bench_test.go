package inbox

import (
	"fmt"
	"testing"
)

// BenchmarkAppend is the time until a message is durable in so many inboxes, when nothing else is
// under way.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 2, 4, 8, 50, 200} {
		b.Run(fmt.Sprintf("recipients=%d", n), func(b *testing.B) {
			box := openInbox(b, connection(b), testConfig(b))
			users := make([]string, n)
			for i := range users {
				users[i] = fmt.Sprint("user", i)
			}
			message := string(make([]byte, 200))
			for b.Loop() {
				box.append(b, message, users...)
			}
		})
	}
}
