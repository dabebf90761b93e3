package accounts

import (
	"encoding/base64"
	"strings"
	"testing"
)

// A hash that differs from the password's in one bit, wherever that is, is not the password's.
func TestHashesAreComparedWhole(t *testing.T) {
	h := newHasher(nil)
	encoded, err := h.hash(testContext(t), app, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := h.matches(testContext(t), app, encoded, "secret"); !ok || err != nil {
		t.Fatalf("the hash itself: %v, %v", ok, err)
	}
	at := strings.LastIndex(encoded, "$") + 1
	sum, err := base64.RawStdEncoding.DecodeString(encoded[at:])
	if err != nil || len(sum) != hashBytes {
		t.Fatalf("%d bytes, %v", len(sum), err)
	}
	for _, i := range []int{0, 7, 8, hashBytes / 2, hashBytes - 1} {
		sum[i] ^= 1
		other := encoded[:at] + base64.RawStdEncoding.EncodeToString(sum)
		if ok, err := h.matches(testContext(t), app, other, "secret"); ok || err != nil {
			t.Errorf("with another bit in byte %d: %v, %v", i, ok, err)
		}
		sum[i] ^= 1
	}
}
