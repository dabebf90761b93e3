package events

import (
	"fmt"
	"strings"
)

// plainTokenByte marks the bytes that are not escaped in a subject token.
var plainTokenByte = func() (plain [256]bool) {
	for c := range 256 {
		b := byte(c)
		plain[c] = 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '_'
	}
	return plain
}()

const upperHex = "0123456789ABCDEF"

// appendEscaped appends s, escaped, as a part of a subject token.
func appendEscaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; plainTokenByte[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

const escapeProblem = "not escaped as %XX where needed and only there"

// unescape undoes appendEscaped. It refuses every other spelling, so that each name has one token
// only.
func unescape(token string) (text string, ok bool) {
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		if plainTokenByte[c] {
			b = append(b, c)
			continue
		}
		if c != '%' || i+2 >= len(token) {
			return "", false
		}
		high := strings.IndexByte(upperHex, token[i+1])
		low := strings.IndexByte(upperHex, token[i+2])
		if high < 0 || low < 0 || plainTokenByte[high<<4|low] {
			return "", false
		}
		b = append(b, byte(high<<4|low))
		i += 2
	}
	return string(b), true
}

// appendAppTokens appends "<org>.<app>" for a valid app key. The error wraps [ErrBadSubject].
func appendAppTokens(dst []byte, key string) ([]byte, error) {
	org, app, ok := strings.Cut(key, "#")
	if !ok {
		return nil, fmt.Errorf("%w: not org#app: %q", ErrBadSubject, clip(key))
	}
	if problem := appProblem(org, app); problem != "" {
		return nil, fmt.Errorf("%w: %s", ErrBadSubject, problem)
	}
	dst = appendEscaped(dst, org)
	return appendEscaped(append(dst, '.'), app), nil
}

// parseAppTokens turns "<org>.<app>" into an app key.
func parseAppTokens(tokens string) (key, problem string) {
	first, second, _ := strings.Cut(tokens, ".")
	org, ok := unescape(first)
	if !ok {
		return "", "org: " + escapeProblem
	}
	app, ok := unescape(second)
	if !ok {
		return "", "app: " + escapeProblem
	}
	return AppKey(org, app), appProblem(org, app)
}
