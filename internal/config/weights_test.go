package config

import "testing"

func TestWeights(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "b/c=2, a/b = 4,": "a/b=4,b/c=2", "a/b=1000": "a/b=1000",
		"a/b=0": "!", "a/b=1001": "!", "a=1": "!", "a/b/c=1": "!", "a/b": "!", "a/b=x": "!", "a/b=1,a/b=2": "!",
	} {
		var w Weights
		err := w.UnmarshalText([]byte(text))
		switch {
		case want == "!" && err == nil:
			t.Errorf("%q is taken as %v", text, w)
		case want != "!" && (err != nil || string(w) != want):
			t.Errorf("%q: %v, %v", text, w, err)
		}
	}
	of := Weights("acme/chat=4").Of()
	if of("acme#chat") != 4 || of("acme#mail") != 1 || Weights("").Of()("acme#chat") != 1 {
		t.Error("wrong weights")
	}
}
