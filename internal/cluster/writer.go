package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
)

// ErrFenced: another node has become the writer.
var ErrFenced = errors.New("cluster: another node is the writer now")

// errOld: what was read is older than what is there, as a server says that was deposed.
var errOld = errors.New("cluster: the answer is of before")

// Writer is the exclusive right to write something to the outside world, with the notes that its
// holder makes before each step. Nothing ends it but another claim, and no clock has a say:
// each note is made on the condition that it follows the last one, so a writer that was paused, or
// cut off, is told [ErrFenced] at its next note, and does not take the step. Its successor finds
// the last note of each part, and begins by repeating that step, which must be one that may
// be repeated.
type Writer struct {
	register Register
	name     string
	by       owner
	term     uint64

	mu    sync.Mutex
	parts map[int]part // by number, once they were taken over
}

// owner is a process.
type owner struct {
	Node string `json:"node"`
	Life string `json:"life"`
}

// claim is what the bucket has of a writer, under its name.
type claim struct {
	owner
	Term uint64 `json:"term"`
}

// part is what the bucket has of a part of the work, under the name and the number.
type part struct {
	Term uint64          `json:"term"`
	Note json.RawMessage `json:"note,omitempty"`

	revision uint64
}

// parseClaim reads a claim. One that no further claim can follow is none: begun anew, terms would
// be behind those of the parts, which would be fenced for ever. It may name nobody: a server that
// is alone has no name, and a right may have been given up.
func parseClaim(text []byte) (c claim, err error) {
	if err = json.Unmarshal(text, &c); err == nil && (c.Term == 0 || c.Term == math.MaxUint64) {
		err = fmt.Errorf("%q is no claim", text)
	}
	return c, err
}

// parsePart reads a part. What no writer has left is none: taken for one without a note, it would
// have its last step left out.
func parsePart(text []byte) (p part, err error) {
	if err = json.Unmarshal(text, &p); err == nil && p.Term == 0 {
		err = fmt.Errorf("%q is no note of a writer", text)
	}
	return p, err
}

// Claim makes a process of a node the writer, unless keep says of the one that is it now that it
// should stay: the error is [ErrConflict] then, or if another node was faster. With another error
// the process may have become the writer that is returned, if one is.
func Claim(ctx context.Context, r Register, name, node, life string, keep func(node, life string) bool) (*Writer, error) {
	w := &Writer{register: r, name: name, by: owner{node, life}, parts: map[int]part{}}
	var now claim
	text, revision, err := r.Get(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if err == nil {
		if now, err = parseClaim(text); err != nil {
			return nil, fmt.Errorf("cluster: writer %s: %w", name, err)
		}
		if now.owner != w.by && keep(now.Node, now.Life) {
			return nil, fmt.Errorf("%w: %s is the writer", ErrConflict, now.Node)
		}
	}
	w.term = now.Term + 1
	mine, err := json.Marshal(claim{w.by, w.term})
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if now.Term == 0 && revision == 0 {
		_, err = r.Create(ctx, name, mine)
	} else {
		_, err = r.Update(ctx, name, mine, revision)
	}
	return w, err
}

// Release gives the right up, for whoever claims it next. After an error it may be called again.
func (w *Writer) Release(ctx context.Context) error {
	_, err := change(ctx, w.register, w.name, func(now *claim) (bool, error) {
		if now.Term < w.term {
			return false, fmt.Errorf("%w: %s", errOld, w.name)
		}
		if now.owner != w.by || now.Term != w.term {
			return false, nil // it is another one's
		}
		now.owner = owner{}
		return true, nil
	})
	return err
}

// Term numbers the claims: it is larger than that of every writer before.
func (w *Writer) Term() uint64 { return w.term }

// ReadNote returns the last note that the writers of a name made of a part, nil if there is none,
// for those who are none of them.
func ReadNote(ctx context.Context, r Register, name string, number int) (note []byte, err error) {
	p, err := (&Writer{register: r, name: name}).stored(ctx, number)
	return p.Note, err
}

// Read takes a part over, and returns the last note that was made of it; nil if there is none.
func (w *Writer) Read(ctx context.Context, number int) (note []byte, err error) {
	for {
		p, err := w.stored(ctx, number)
		if err != nil {
			return nil, err
		}
		if p.Term > w.term {
			return nil, fmt.Errorf("%w: %s", ErrFenced, w.key(number))
		}
		p.Term = w.term
		if err := w.store(ctx, number, p); !errors.Is(err, ErrConflict) {
			return p.Note, err
		}
	}
}

// Write makes a note of a part that was taken over by Read. The error is [ErrFenced] if another
// node has taken it over since.
func (w *Writer) Write(ctx context.Context, number int, note []byte) error {
	w.mu.Lock()
	p := w.parts[number]
	w.mu.Unlock()
	p.Note = note
	err := w.store(ctx, number, p)
	if !errors.Is(err, ErrConflict) {
		return err
	}
	// Perhaps it was our own note, whose answer was lost.
	now, err := w.stored(ctx, number)
	switch {
	case err != nil:
		return err
	case now.Term > w.term:
		return fmt.Errorf("%w: %s", ErrFenced, w.key(number))
	case now.Term < w.term:
		return fmt.Errorf("%w: %s", errOld, w.key(number))
	}
	p.revision = now.revision
	if err = w.store(ctx, number, p); errors.Is(err, ErrConflict) { // the next try finds whose
		err = fmt.Errorf("%w: %s", errOld, w.key(number))
	}
	return err
}

func (w *Writer) key(number int) string { return w.name + "." + strconv.Itoa(number) }

func (w *Writer) stored(ctx context.Context, number int) (p part, err error) {
	text, revision, err := w.register.Get(ctx, w.key(number))
	switch {
	case errors.Is(err, ErrNotFound):
		return part{revision: revision}, nil
	case err != nil:
		return p, err
	}
	if p, err = parsePart(text); err != nil {
		return p, fmt.Errorf("cluster: %s: %w", w.key(number), err)
	}
	p.revision = revision
	return p, nil
}

func (w *Writer) store(ctx context.Context, number int, p part) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	if p.revision == 0 {
		p.revision, err = w.register.Create(ctx, w.key(number), text)
	} else {
		p.revision, err = w.register.Update(ctx, w.key(number), text, p.revision)
	}
	if err == nil {
		w.mu.Lock()
		w.parts[number] = p
		w.mu.Unlock()
	}
	return err
}
