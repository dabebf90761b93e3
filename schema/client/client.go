package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Version is the version of the API that the client was made for.
const Version = "1.0.0"

// DefaultURL is where a server listens if it was not told otherwise.
const DefaultURL = "http://127.0.0.1:8080"

// Config is how to reach an app.
type Config struct {
	// URL is the server's; empty = [DefaultURL].
	URL string
	// App is ORG/APP.
	App string
	// Token is asked for the bearer of requests: [Key] for one that does not change.
	Token Token
	// User is whose token Token returns; empty = a backend with the admin key. Events are then
	// receipts of this user, who need not be named in them.
	User string
	// HTTP makes the requests; nil = a client of its own. Its Timeout must be 0: streams have no
	// end.
	HTTP *http.Client
	// Retry is how requests are repeated; its zero value is what most want.
	Retry Retry
}

// Token returns the bearer for the requests that follow: an admin key or a user token. It is called
// before the first request, with an empty refused, and again when the server has refused the one it
// returned last. If it returns that again, the server's refusal is the caller's error. It is not
// called concurrently.
type Token func(ctx context.Context, refused string) (string, error)

// Key is a bearer that does not change.
func Key(key string) Token {
	return func(context.Context, string) (string, error) { return key, nil }
}

// Retry says how requests are repeated that were not answered, or with a wish to come back. The
// wait doubles each time, is drawn at random from its upper half, and is never shorter than the
// answer's Retry-After.
type Retry struct {
	// First is the wait before the first repetition; 0 = 100 ms.
	First time.Duration
	// Longest bounds the waits; 0 = 10 s.
	Longest time.Duration
	// For bounds how long a request, or an event, is tried after it failed first: no repetition
	// begins later. 0 = 2 min, negative = nothing is repeated.
	For time.Duration
	// Attempt bounds one try of a request; 0 = 35 s, more than a server takes. Streams are not
	// bound by it.
	Attempt time.Duration
}

// Client makes the calls of one app. It may be used concurrently.
type Client struct {
	url      string
	org, app string
	user     string
	http     *http.Client
	retry    Retry
	token    bearer
	position position
	// ids of events are name/number.
	name   string
	number atomic.Uint64
}

// New returns a client. It makes no request.
func New(cfg Config) (*Client, error) {
	if cfg.URL == "" {
		cfg.URL = DefaultURL
	}
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("client: URL %q is none of a server, like %s", cfg.URL, DefaultURL)
	}
	org, app, ok := strings.Cut(cfg.App, "/")
	if !ok || org == "" || app == "" || strings.Contains(app, "/") {
		return nil, fmt.Errorf("client: App %q is not ORG/APP", cfg.App)
	}
	if cfg.Token == nil {
		return nil, errors.New("client: Token is missing: client.Key(key) for one that does not change")
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{}
	}
	if cfg.HTTP.Timeout != 0 {
		return nil, errors.New("client: HTTP has a Timeout, which would end streams: Retry.Attempt bounds requests")
	}
	var name [8]byte
	_, _ = rand.Read(name[:]) // it never fails
	return &Client{
		url: strings.TrimSuffix(cfg.URL, "/"), org: org, app: app, user: cfg.User, http: cfg.HTTP, retry: cfg.Retry.orDefault(),
		token: bearer{source: cfg.Token, lock: make(chan struct{}, 1)}, name: hex.EncodeToString(name[:]),
	}, nil
}

// Position is up to where the client has seen the log, as text that [Client.AtLeast] takes; empty
// if it has seen nothing, or the server is the only one on its log and tells no positions.
func (c *Client) Position() string { return c.position.text() }

// AtLeast has the answers from now on be those of a server that has seen the log up to a position,
// which another client's Position returned.
func (c *Client) AtLeast(position string) error { return c.position.add(position) }

// newID names an event. Ids that differ in a number of constant width at their end take least room
// in the log.
func (c *Client) newID() string { return fmt.Sprintf("%s/%08d", c.name, c.number.Add(1)) }

// bearer is the token in use.
type bearer struct {
	source Token
	lock   chan struct{} // holds one for whoever looks at token
	token  string
}

// get returns the token, a new one if it is the one that was refused.
func (b *bearer) get(ctx context.Context, refused string) (string, error) {
	select {
	case b.lock <- struct{}{}:
		defer func() { <-b.lock }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if b.token == "" || b.token == refused {
		token, err := b.source(ctx, refused)
		if err != nil {
			return "", fmt.Errorf("client: token: %w", err)
		}
		b.token = token
	}
	return b.token, nil
}

func (r Retry) orDefault() Retry {
	for _, x := range []struct {
		d   *time.Duration
		def time.Duration
	}{{&r.First, 100 * time.Millisecond}, {&r.Longest, 10 * time.Second}, {&r.For, 2 * time.Minute}, {&r.Attempt, 35 * time.Second}} {
		if *x.d == 0 {
			*x.d = x.def
		}
	}
	return r
}
