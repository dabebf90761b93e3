package merkle

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrNotSigned is returned for what a key did not sign, or not like this.
var ErrNotSigned = errors.New("merkle: not signed by this key")

// Origin names the tree of one partition of a log.
type Origin struct {
	// Log is the name of the key that signs for it.
	Log string
	// Partition is one of Partitions, which is how many the log has.
	Partition, Partitions int
	// Base is the entry before the tree's first leaf, as the heads have it.
	Base uint64
}

// Continues reports whether the tree of a log goes on that had another origin before: the same, or
// that of fewer partitions, of which each was split.
func (o Origin) Continues(before Origin) bool {
	for before.Partitions > 0 && before.Partitions < o.Partitions {
		before.Partitions *= 2
	}
	return before == o
}

// String is the origin as the first line of a checkpoint has it: LOG/PofN, and for a tree that
// does not begin with the first entry LOG/PofN/after/BASE, so that it is never taken for the other.
func (o Origin) String() string {
	s := fmt.Sprintf("%s/%dof%d", o.Log, o.Partition, o.Partitions)
	if o.Base > 0 {
		s += "/after/" + strconv.FormatUint(o.Base, 10)
	}
	return s
}

// parseOrigin reads an origin of a log.
func parseOrigin(log, s string) (o Origin, err error) {
	rest, ok := strings.CutPrefix(s, log+"/")
	o.Log = log
	if ok {
		partition, base, after := strings.Cut(rest, "/after/")
		if _, err = fmt.Sscanf(partition, "%dof%d", &o.Partition, &o.Partitions); err == nil && after {
			o.Base, err = strconv.ParseUint(base, 10, 64)
		}
	}
	if !ok || err != nil || o.String() != s || o.Partition < 0 || o.Partition >= o.Partitions {
		return Origin{}, fmt.Errorf("%w: %q is no partition of %s", ErrNotSigned, s, log)
	}
	return o, nil
}

// Sign makes a checkpoint: the head of a tree, in the form of https://c2sp.org/tlog-checkpoint. The
// origin's Log and Base are taken from the signer and the head.
func Sign(signer note.Signer, o Origin, head Head) (string, error) {
	o.Log, o.Base = signer.Name(), head.Base
	return sign(signer, fmt.Sprintf("%s\n%d\n%s\n", o, head.Size, head.Root))
}

func sign(signer note.Signer, text string) (string, error) {
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return "", fmt.Errorf("merkle: %w", err)
	}
	return string(signed), nil
}

// open returns the text that a key signed, and nobody else: what is signed has one form.
func open(key note.Verifier, signed string) (string, error) {
	n, err := note.Open([]byte(signed), note.VerifierList(key))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotSigned, err)
	}
	signature := n.Sigs[0] // of the one key that is known
	_, err = base64.StdEncoding.Strict().DecodeString(signature.Base64)
	if err != nil || signed != n.Text+"\n— "+signature.Name+" "+signature.Base64+"\n" {
		return "", fmt.Errorf("%w: the signature is not as it was made", ErrNotSigned)
	}
	return n.Text, nil
}

// OpenCheckpoint returns the head that a key signed, and of which tree it is.
func OpenCheckpoint(key note.Verifier, checkpoint string) (o Origin, head Head, err error) {
	text, err := open(key, checkpoint)
	if err != nil {
		return o, head, err
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 4 { // three, and what follows the last of them
		return o, head, fmt.Errorf("%w: %q is no checkpoint", ErrNotSigned, text)
	}
	if o, err = parseOrigin(key.Name(), lines[0]); err != nil {
		return o, head, err
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err == nil {
		head.Root, err = tlog.ParseHash(lines[2])
	}
	if err != nil {
		return Origin{}, Head{}, fmt.Errorf("%w: %q is no checkpoint: %w", ErrNotSigned, text, err)
	}
	head.Base, head.Size = o.Base, size
	return o, head, nil
}
