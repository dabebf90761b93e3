package easemob

import "sync"

// keyLock is a lock for each key. The zero value is ready; it keeps only the keys that are in use.
type keyLock struct {
	mu   sync.Mutex
	keys map[string]*keyUse
}

type keyUse struct {
	sync.Mutex
	users int
}

// lock waits for the lock of a key, and returns what unlocks it.
func (l *keyLock) lock(key string) (unlock func()) {
	l.mu.Lock()
	if l.keys == nil {
		l.keys = make(map[string]*keyUse)
	}
	u := l.keys[key]
	if u == nil {
		u = new(keyUse)
		l.keys[key] = u
	}
	u.users++
	l.mu.Unlock()
	u.Lock()
	return func() {
		u.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if u.users--; u.users == 0 {
			delete(l.keys, key)
		}
	}
}
