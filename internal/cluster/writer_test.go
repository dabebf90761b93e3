package cluster

import (
	"errors"
	"testing"
)

func nobody(string, string) bool    { return false }
func everybody(string, string) bool { return true }

// Of two writers one can go on: the one that claimed last, with the last note of the other. One
// that was paused in between is told so, whatever it knows.
func TestOneWriterAtATime(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	a, err := Claim(ctx, bucket(t, conns[0]), "sink", "a", "1", everybody)
	if err != nil {
		t.Fatal(err)
	}
	if note, err := a.Read(ctx, 0); err != nil || note != nil {
		t.Fatalf("%s, %v", note, err)
	}
	for _, note := range []string{`1`, `2`} {
		if err := a.Write(ctx, 0, []byte(note)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Claim(ctx, bucket(t, conns[1]), "sink", "b", "1", everybody); !errors.Is(err, ErrConflict) {
		t.Errorf("the writer is there, and another one claims: %v", err)
	}
	b, err := Claim(ctx, bucket(t, conns[1]), "sink", "b", "1", nobody)
	if err != nil {
		t.Fatal(err)
	}
	// Until a part is taken over, the step under way may be finished.
	if err := a.Write(ctx, 0, []byte(`3`)); err != nil {
		t.Fatal(err)
	}
	if note, err := b.Read(ctx, 0); err != nil || string(note) != "3" {
		t.Errorf("%s, %v; want 3", note, err)
	}
	if err := a.Write(ctx, 0, []byte(`4`)); !errors.Is(err, ErrFenced) {
		t.Errorf("the writer of before writes: %v", err)
	}
	if _, err := a.Read(ctx, 0); !errors.Is(err, ErrFenced) {
		t.Errorf("the writer of before takes over again: %v", err)
	}
	if err := b.Write(ctx, 0, []byte(`5`)); err != nil {
		t.Error(err)
	}
	if note, err := b.Read(ctx, 0); err != nil || string(note) != "5" {
		t.Errorf("%s, %v; want 5", note, err)
	}
}

// A note whose answer was lost is no other writer's.
func TestNoteWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	a, err := Claim(ctx, bucket(t, conns[0]), "sink", "a", "1", everybody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(ctx, 0); err != nil {
		t.Fatal(err)
	}
	before := a.parts[0]
	if err := a.Write(ctx, 0, []byte(`1`)); err != nil {
		t.Fatal(err)
	}
	a.parts[0] = before
	if err := a.Write(ctx, 0, []byte(`2`)); err != nil {
		t.Error(err)
	}
}

// What no writer has left in the bucket is neither a claim that may be followed nor a part that has
// no note yet: it is named, and stays.
func TestWhatNoWriterLeftIsRefused(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	b := bucket(t, conns[0])
	for _, text := range []string{`null`, `{}`, `{"node":"a","life":"1"}`, `{"node":"a","life":"1","term":18446744073709551615}`} {
		if err := b.Put(ctx, "sink", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := Claim(ctx, b, "sink", "b", "1", nobody); err == nil {
			t.Errorf("%s: it is followed", text)
		}
		if now, _, err := b.Get(ctx, "sink"); err != nil || string(now) != text {
			t.Errorf("%s has become %s, %v", text, now, err)
		}
	}
	w, err := Claim(ctx, b, "other", "b", "1", nobody)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Put(ctx, "other.0", []byte(`{"note":1}`)); err != nil {
		t.Fatal(err)
	}
	if note, err := w.Read(ctx, 0); err == nil {
		t.Errorf("a part of no term is taken over, with the note %s", note)
	}
}

// A server that is alone has no name, and its next process has the right after it. A right that was
// given up is whoever's claims it next, though the one that had it is there; another one's is not
// given up.
func TestRightsOfNobody(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	b := bucket(t, conns[0])
	for range 2 {
		if _, err := Claim(ctx, b, "alone", "", "", nobody); err != nil {
			t.Fatal(err)
		}
	}
	named := func(node, _ string) bool { return node != "" }
	first, err := Claim(ctx, b, "snapshots", "a", "1", named)
	if err == nil {
		err = first.Release(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	second, err := Claim(ctx, b, "snapshots", "b", "1", named)
	if err != nil || second.Term() <= first.Term() {
		t.Fatalf("a right that was given up is not to be had: %v", err)
	}
	if err := first.Release(ctx); err != nil {
		t.Error(err)
	}
	if _, err := Claim(ctx, b, "snapshots", "c", "1", named); !errors.Is(err, ErrConflict) {
		t.Errorf("the right of another one was given up: %v", err)
	}
}
