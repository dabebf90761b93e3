package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"sync"
	"time"
)

const (
	cookieName = "receiptd_session"
	// sessionAge is how long a session lasts, whether it is used or not.
	sessionAge = 12 * time.Hour
	// maxSessions bounds the memory of sessions; one more ends the oldest. Only holders of the key
	// can make them.
	maxSessions = 1000
)

// sessions are the browsers that are signed in. They are found by the hash of a random id, so that
// the time a look-up takes tells nothing about ids that are nearly right. They end with the
// process.
type sessions struct {
	now    func() time.Time
	shared SessionStore // nil for a server that is alone

	mu      sync.Mutex
	expires map[[sha256.Size]byte]time.Time
}

// SessionStore keeps the sessions that several servers share, by the hashes of their ids. A session
// ends by being deleted there; what is old may be forgotten.
type SessionStore interface {
	Put(ctx context.Context, id string, expires time.Time) error
	// Get returns when a session expires; the zero time if there is none.
	Get(ctx context.Context, id string) (expires time.Time, err error)
	Delete(ctx context.Context, id string) error
}

func newSessions(now func() time.Time, shared SessionStore) *sessions {
	return &sessions{now: now, shared: shared, expires: map[[sha256.Size]byte]time.Time{}}
}

// start begins a session and puts it into the answer.
func (s *sessions) start(w http.ResponseWriter, r *http.Request) error {
	id := rand.Text()
	if s.shared != nil {
		if err := s.shared.Put(r.Context(), sharedID(id), s.now().Add(sessionAge)); err != nil {
			return err
		}
	} else {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.makeRoom()
		s.expires[sha256.Sum256([]byte(id))] = s.now().Add(sessionAge)
	}
	http.SetCookie(w, sessionCookie(r, id, int(sessionAge/time.Second)))
	return nil
}

// sharedID names a session where several servers keep them.
func sharedID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// makeRoom forgets what has expired, and the oldest session if there are too many.
func (s *sessions) makeRoom() {
	var oldest [sha256.Size]byte
	var first time.Time
	for id, at := range s.expires {
		if !s.now().Before(at) {
			delete(s.expires, id)
		} else if first.IsZero() || at.Before(first) {
			oldest, first = id, at
		}
	}
	if len(s.expires) >= maxSessions {
		delete(s.expires, oldest)
	}
}

// valid reports whether a request comes from a browser that is signed in.
func (s *sessions) valid(r *http.Request) bool {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return false
	}
	if s.shared != nil {
		at, err := s.shared.Get(r.Context(), sharedID(cookie.Value))
		return err == nil && s.now().Before(at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.expires[sha256.Sum256([]byte(cookie.Value))]
	return ok && s.now().Before(at)
}

// end ends the session of a request, here and in the browser.
func (s *sessions) end(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		if s.shared != nil {
			// If that fails, it ends by its age.
			_ = s.shared.Delete(r.Context(), sharedID(cookie.Value))
		}
		s.mu.Lock()
		delete(s.expires, sha256.Sum256([]byte(cookie.Value)))
		s.mu.Unlock()
	}
	http.SetCookie(w, sessionCookie(r, "", -1))
}

// sessionCookie has no path: the browser then takes that of the page, which behind a proxy only the
// browser knows.
func sessionCookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: encrypted(r),
	}
}

// encrypted reports whether the browser talks TLS, to us or to a proxy that says so. A client that
// lies about it makes its own cookie stricter.
func encrypted(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}
