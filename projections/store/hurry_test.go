package store

import "testing"

// Background work sleeps, but not while somebody waits for it.
func TestNobodyWaitsForSleepers(t *testing.T) {
	var s Store
	s.changes.waiting = &s.waiting
	done := s.Hurry()
	if s.changes.yield(); !s.changes.since.IsZero() {
		t.Error("it slept while somebody waited")
	}
	done()
	if s.changes.yield(); s.changes.since.IsZero() {
		t.Error("it did not sleep")
	}
}
