package gateway

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestKeysAreMatchedWhole(t *testing.T) {
	h := HashKey("the-key")
	for guess, want := range map[string]bool{"the-key": true, "the-ke": false, "the-keyy": false, "The-key": false, "": false} {
		if h.Matches(guess) != want {
			t.Errorf("%q: %v", guess, !want)
		}
	}
	for i := range h {
		other := h
		other[i] ^= 1
		if other.Matches("the-key") {
			t.Errorf("byte %d of the hash is not compared", i)
		}
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "Bearer   abc ": "abc",
		"": "", "Bearer": "", "Bearer ": "", "abc": "", "Basic abc": "",
	} {
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		if token, ok := Bearer(r); ok != (want != "") || ok && token != want {
			t.Errorf("%q: %q, %v", header, token, ok)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	tokens, err := NewTokens(bytes.Repeat([]byte("k"), MinTokenKeyBytes), clock)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := NewTokens(bytes.Repeat([]byte("x"), MinTokenKeyBytes), clock)
	if err != nil {
		t.Fatal(err)
	}
	a := NewAuthenticator("the-admin-key", tokens)
	token, expires, err := tokens.Mint(app, "ann", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	forged, _, err := foreign.Mint(app, "ann", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for bearer, want := range map[string]error{
		"": errBadToken, "the-admin-ke": errBadToken, "the-admin-key ": errBadToken, forged: errBadToken, "a.b.c": errBadToken,
	} {
		if caller, err := a.Authenticate(bearer, "192.0.2.1:1"); !errors.Is(err, want) || caller != (Caller{}) {
			t.Errorf("%q: %+v, %v", bearer, caller, err)
		}
	}
	if caller, err := a.Authenticate("the-admin-key", "192.0.2.1:1"); err != nil || caller != (Caller{Admin: true}) {
		t.Errorf("the admin key: %+v, %v", caller, err)
	}
	caller, err := a.Authenticate(token, "192.0.2.1:1")
	if err != nil || caller.Admin || caller.App != app || caller.User != "ann" || !caller.Expires.Equal(expires) {
		t.Errorf("a token: %+v, %v", caller, err)
	}
	// The last character of a signature has two bits that stand for nothing.
	same := 0
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		if _, err := a.Authenticate(token[:len(token)-1]+string(c), "192.0.2.1:1"); err == nil {
			same++
		}
	}
	if same != 1 {
		t.Errorf("%d texts are the same token", same)
	}
	now = expires
	if caller, err := a.Authenticate(token, "192.0.2.1:1"); !errors.Is(err, ErrTokenExpired) || caller != (Caller{}) {
		t.Errorf("an expired token: %+v, %v", caller, err)
	}
}

// A token that names no end is none, whoever signed it.
func TestTokensHaveAnEnd(t *testing.T) {
	key := bytes.Repeat([]byte("k"), MinTokenKeyBytes)
	tokens, err := NewTokens(key, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	endless, err := jwt.NewWithClaims(jwt.SigningMethodHS256, tokenClaims{
		App: app, RegisteredClaims: jwt.RegisteredClaims{Subject: "ann"},
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	if caller, err := tokens.Verify(endless); !errors.Is(err, errBadToken) {
		t.Errorf("%+v, %v", caller, err)
	}
}

// From an address with many wrong keys the right one is not taken either, or guessing would go on;
// other addresses, and those that presented it before, are let in.
func TestGuessingTheAdminKeyIsThrottled(t *testing.T) {
	tokens, err := NewTokens(make([]byte, MinTokenKeyBytes), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	a := NewAuthenticator("the-admin-key", tokens)
	now := time.Unix(1_000_000, 0)
	a.guesses.now = func() time.Time { return now }
	is := func(bearer, remote string, want error) {
		t.Helper()
		if _, err := a.Authenticate(bearer, remote); !errors.Is(err, want) {
			t.Fatalf("%s from %s: %v, want %v", bearer, remote, err, want)
		}
	}
	is("the-admin-key", "192.0.2.7:9", nil) // a backend behind the same proxy
	for range guessesAtOnce {
		is("guess", "192.0.2.7:1", errBadToken)
		is("guess", "192.0.2.8:1", errBadToken)
	}
	is("guess", "192.0.2.8:2", ErrGuessing)
	is("the-admin-key", "192.0.2.8:3", ErrGuessing)
	is("the-admin-key", "192.0.2.7:3", nil)
	is("the-admin-key", "192.0.2.9:1", nil)
	token, _, err := tokens.Mint("acme#chat", "ann", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	is(token, "192.0.2.8:4", nil)
	now = now.Add(2 * time.Second)
	is("the-admin-key", "192.0.2.8:5", nil)
}
