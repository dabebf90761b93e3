package runtime

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/gateway/httpapi"
)

// endsWithin is how long an answer that is to end may take for that before its connection is
// closed.
const endsWithin = 5 * time.Second

// writing is what an answer is written by, for those who may have to end that from outside.
type writing struct {
	ctx context.Context // of the request

	mu sync.Mutex
	w  http.ResponseWriter // nil once it is over
}

// end has a write to a client that takes nothing fail. It waits for nothing.
func (x *writing) end() {
	go func() { // to say so may wait for the connection, over HTTP/2
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.w == nil {
			return
		}
		_ = http.NewResponseController(x.w).SetWriteDeadline(time.Unix(1, 0))
		// Over HTTP/2 that is a frame, which a client that leaves its socket full may keep back.
		time.AfterFunc(endsWithin, x.close)
	}()
}

// close closes the connection unless it is over.
func (x *writing) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if conn := httpapi.ConnOf(x.ctx); conn != nil && x.w != nil {
		_ = conn.Close()
	}
}

// over is called before the handler returns. The writer is not touched any more then: over HTTP/2
// that would end the process, and over HTTP/1 the next answer of the connection.
func (x *writing) over() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.w = nil
}
