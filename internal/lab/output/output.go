// Package output keeps what programs and loggers under test say.
package output

import (
	"bytes"
	"sync"
)

// Buffer keeps all that is written to it. Many may write and read at the same time: programs and
// servers go on writing while a test looks at what they have said. The zero value is empty.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is what was written up to now.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
