package msync

import (
	"slices"
	"sync"
)

// maxOwnReads bounds the conversation reads of a session that are remembered until the device is,
// or would be, told of them: far more than a client sends in that time.
const maxOwnReads = 64

// ownReads are the event ids of the latest conversation reads that a session has sent, so that its
// own device is not told of them.
type ownReads struct {
	mu  sync.Mutex
	ids []string
}

func (r *ownReads) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids = append(r.ids, id); len(r.ids) > maxOwnReads {
		r.ids = r.ids[1:]
	}
}

func (r *ownReads) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return id != "" && slices.Contains(r.ids, id)
}
