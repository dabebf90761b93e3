package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Bytes is a size that reads and writes itself as text like "256MiB".
type Bytes int64

// Units, largest first, so that MarshalText finds the shortest text. Decimal ones are only read.
var units = []struct {
	suffix string
	size   int64
	write  bool
}{
	{"TiB", 1 << 40, true}, {"GiB", 1 << 30, true}, {"MiB", 1 << 20, true}, {"KiB", 1 << 10, true},
	{"TB", 1e12, false}, {"GB", 1e9, false}, {"MB", 1e6, false}, {"KB", 1e3, false},
	{"B", 1, false},
}

// UnmarshalText reads a whole number and a unit (B, KiB, MiB, GiB, TiB, or the decimal KB, MB, GB,
// TB; in any case). Without a unit it is bytes.
func (b *Bytes) UnmarshalText(text []byte) error {
	bad := fmt.Errorf("not a size like 256MiB: %q", text)
	number, size := strings.TrimSpace(string(text)), int64(1)
	for _, u := range units {
		if cut := len(number) - len(u.suffix); cut > 0 && strings.EqualFold(number[cut:], u.suffix) {
			number, size = strings.TrimSpace(number[:cut]), u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<63-1)/size {
		return bad
	}
	*b = Bytes(n * size)
	return nil
}

// MarshalText writes the shortest exact text.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String is the shortest exact text: "256MiB".
func (b Bytes) String() string {
	for _, u := range units {
		if n := int64(b); u.write && n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Secret is a value that prints as a mask wherever it is formatted, logged or marshalled.
type Secret string

const mask = "***"

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

// String is a mask, or empty when the secret is.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString masks it for %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText masks it in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue masks it in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// ServerURLs is one NATS URL or several with commas. Passwords and tokens in it print as a mask.
type ServerURLs string

// Reveal returns the URLs with their passwords, for the client that connects.
func (u ServerURLs) Reveal() string { return string(u) }

// String is the URLs without their passwords. What cannot be parsed is masked as a whole.
func (u ServerURLs) String() string {
	if u == "" {
		return ""
	}
	parts := strings.Split(string(u), ",")
	for i, part := range parts {
		parts[i] = redact(strings.TrimSpace(part))
	}
	return strings.Join(parts, ",")
}

// Origins is a list of web origins, each as a browser sends it, with commas between them; * is all.
type Origins string

// List returns the origins, none if it is empty.
func (o Origins) List() (list []string) {
	for part := range strings.SplitSeq(string(o), ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// originProblem says what is wrong with an origin; empty if nothing is.
func originProblem(origin string) string {
	parsed, err := url.Parse(origin)
	switch {
	case origin == "*":
		return ""
	case err != nil || parsed.Scheme == "" || parsed.Host == "" || strings.Contains(origin, "*") ||
		parsed.Scheme+"://"+parsed.Host != origin || strings.ToLower(origin) != origin:
		return "is not an origin like https://chat.example.com: a scheme, a host and perhaps a port, in lower case, without a path"
	}
	return ""
}

// harmless are parameters of a URL whose values may be shown. Of any other one it cannot be known
// whether it is a secret: password, token, jwt, a proxy with its own password.
var harmless = []string{
	"block_buffer_size", "client_info_product", "compress", "compress_level", "connection_open_strategy", "database", "debug",
	"dial_timeout", "max_execution_time", "max_idle_conns", "max_open_conns", "read_timeout", "secure", "skip_verify", "username",
}

// redact masks what may be secret in a URL: the values of parameters, and the user part; with NATS
// a user without a password is a token.
func redact(raw string) string {
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Host == "" {
		return mask
	}
	if query, fragment := parsed.RawQuery, parsed.Fragment; query != "" || fragment != "" {
		raw, _, _ = strings.Cut(raw, "#")
		raw, _, _ = strings.Cut(raw, "?")
		var shown []string
		for parameter := range strings.SplitSeq(query, "&") {
			if name, _, ok := strings.Cut(parameter, "="); !ok || !slices.Contains(harmless, name) {
				parameter = name + "=" + mask
			}
			shown = append(shown, parameter)
		}
		return redact(raw) + "?" + strings.Join(shown, "&")
	}
	if parsed.User == nil {
		return raw
	}
	user := mask
	if _, ok := parsed.User.Password(); ok {
		user = url.User(parsed.User.Username()).String() + ":" + mask
	}
	parsed.User = nil
	return strings.Replace(parsed.String(), "://", "://"+user+"@", 1)
}

// GoString masks it for %#v.
func (u ServerURLs) GoString() string { return strconv.Quote(u.String()) }

// MarshalText masks it in JSON and YAML.
func (u ServerURLs) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue masks it in logs.
func (u ServerURLs) LogValue() slog.Value { return slog.StringValue(u.String()) }

// DSN is the address of a database. Its password prints as a mask.
type DSN string

// Reveal returns the DSN with its password, for the client that connects.
func (d DSN) Reveal() string { return string(d) }

// String is the DSN without its password. What cannot be parsed is masked as a whole.
func (d DSN) String() string {
	if d == "" {
		return ""
	}
	parsed, err := url.Parse(string(d))
	if err != nil || parsed.Host == "" {
		return mask
	}
	return redact(string(d))
}

// GoString masks it for %#v.
func (d DSN) GoString() string { return strconv.Quote(d.String()) }

// MarshalText masks it in JSON and YAML.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// LogValue masks it in logs.
func (d DSN) LogValue() slog.Value { return slog.StringValue(d.String()) }

// CommaList is a list of words with commas between them.
type CommaList string

// List returns the words.
func (w CommaList) List() (list []string) {
	for word := range strings.SplitSeq(string(w), ",") {
		if word = strings.TrimSpace(word); word != "" {
			list = append(list, word)
		}
	}
	return list
}
