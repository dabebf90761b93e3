package httpapi

import (
	"io"
	"net/http"
	"time"
)

// How long a refused request may take to send the rest of its body, and how long it may be silent.
const (
	drainFor   = 10 * time.Second
	drainIdle  = 2 * time.Second
	drainPiece = 32 << 10
)

// DrainBody is for a request that was answered before its body was read. It sends the answer, and
// reads what is left of the body, up to a number of bytes and for some seconds, and forgets it.
// Many clients do not look for an answer while they send. If the connection were closed at once,
// they would see it break, and not know what became of their request; the network would even throw
// away the answer that had reached them.
//
// It costs no more than the request would have cost, and holds none of it.
func DrainBody(w http.ResponseWriter, r *http.Request, most int64) {
	if r.ProtoMajor != 1 || r.Body == nil || r.Body == http.NoBody {
		return
	}
	// With the header under way, reading no longer asks a client to continue that waits to
	// be asked.
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return // no real connection, or one that is gone
	}
	piece := make([]byte, drainPiece)
	for end := time.Now().Add(drainFor); most > 0; {
		idle := time.Now().Add(drainIdle)
		if idle.After(end) {
			idle = end
		}
		if control.SetReadDeadline(idle) != nil {
			return
		}
		n, err := io.ReadAtLeast(r.Body, piece, 1)
		if err != nil {
			return
		}
		most -= int64(n)
	}
}
