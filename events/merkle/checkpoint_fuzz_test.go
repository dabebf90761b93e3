package merkle

import (
	"errors"
	"fmt"
	"testing"
)

// FuzzCheckpoint: whatever text the key signed, it is a head of one partition's tree, which can be
// signed again, or no checkpoint. Nobody else's signature is of any use.
func FuzzCheckpoint(f *testing.F) {
	signer, verifier := someKey(f, new(seeded))
	stranger, _ := someKey(f, &seeded{sum: [32]byte{1}})
	root := Hash{7}
	f.Add(fmt.Sprintf("receiptd/test/1of2\n9\n%s\n", root))
	f.Add(fmt.Sprintf("receiptd/test/1of2/after/70\n9\n%s\n", root))
	f.Add(fmt.Sprintf("receiptd/test/01of2\n9\n%s\nmore\n", root))
	f.Add(fmt.Sprintf("receiptd/test/2of2\n09\n%s\n", root))
	f.Add("receiptd statement\nreceiptd/test/1of2\n")
	f.Fuzz(func(t *testing.T, text string) {
		if signed, err := sign(stranger, text); err == nil {
			if _, head, err := OpenCheckpoint(verifier, signed); !errors.Is(err, ErrNotSigned) || head != (Head{}) {
				t.Errorf("%q of another key: %+v, %v", text, head, err)
			}
		}
		signed, err := sign(signer, text)
		if err != nil {
			return
		}
		o, head, err := OpenCheckpoint(verifier, signed)
		if err != nil {
			if !errors.Is(err, ErrNotSigned) || head != (Head{}) {
				t.Errorf("%q: %+v, %v", text, head, err)
			}
			return
		}
		if o.Partition < 0 || o.Partition >= o.Partitions || head.Base != o.Base {
			t.Errorf("%q: %+v, %+v", text, o, head)
		}
		again, err := Sign(signer, o, head)
		if err != nil {
			t.Fatal(err)
		}
		if p, h, err := OpenCheckpoint(verifier, again); err != nil || p != o || h != head {
			t.Errorf("%q is %+v of %+v, which is signed as %q: %v", text, head, o, again, err)
		}
	})
}
