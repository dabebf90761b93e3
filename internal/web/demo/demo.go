// Package demo is a page at /demo on which people chat: some windows side by side, each with a
// connection of its own by the unmodified Easemob web SDK, so that one sees what receipts do. It is
// for trying receiptd, off unless --demo is given: whoever reaches the server may use it.
//
// The SDK is not part of receiptd. It is installed from npm, and the page takes it from the file
// that the configuration names; without it the page says what to do. Every visit begins with new
// people in a group of their own.
package demo

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

const (
	// AppKey is the app that the page chats in.
	AppKey = "receiptd#demo"
	// pagePath is where the page is; its files are below.
	pagePath = "/demo"
	// sdkVersion is the version of the SDK that the page is tested with.
	sdkVersion = "4.21.1"
)

// The first one asks for receipts and owns the group. The first three have windows.
var people = []string{"Ann", "Ben", "Cleo", "Dan", "Eve", "Finn"}

// Host makes what a visit needs.
type Host interface {
	// Begin makes the app if it is not there, and a group of these users, the first of whom is its
	// owner. It returns the group's id and a token for each.
	Begin(ctx context.Context, users []string) (group string, tokens []string, err error)
}

// Config is what a [Page] is made of. All fields are required.
type Config struct {
	Host Host
	// SDK is the file of the SDK's main bundle.
	SDK    string
	Logger *slog.Logger
}

// Page serves the demo. It is safe for concurrent use.
type Page struct {
	cfg    Config
	mux    *http.ServeMux
	visits *rate.Limiter
}

// Each visit leaves a group behind.
const (
	visitsPerSecond = 1
	visitsAtOnce    = 20
	visitTime       = 10 * time.Second
)

//go:embed static demo.html missing.html
var embedded embed.FS

var pages = template.Must(template.ParseFS(embedded, "*.html"))

// policy lets the page load nothing but its own files and connect nowhere but home. The SDK's
// protobuf library makes its decoders from text, which only unsafe-eval allows.
const policy = "default-src 'none'; style-src 'self'; script-src 'self' 'unsafe-eval'; img-src 'self'; connect-src 'self'; " +
	"form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

// New makes the page.
func New(cfg Config) *Page {
	p := &Page{cfg: cfg, mux: http.NewServeMux(), visits: rate.NewLimiter(visitsPerSecond, visitsAtOnce)}
	p.mux.HandleFunc("GET "+pagePath, p.getPage)
	p.mux.HandleFunc("GET "+pagePath+"/sdk.js", p.getSDK)
	p.mux.HandleFunc("GET "+pagePath+"/{file}", p.getFile)
	p.mux.HandleFunc("POST "+pagePath+"/visits", p.postVisit)
	return p
}

// ServeHTTP serves pagePath and what is below.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	p.mux.ServeHTTP(w, r)
}

func (p *Page) getPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	name, status := "demo.html", http.StatusOK
	if _, err := os.Stat(p.cfg.SDK); err != nil {
		name, status = "missing.html", http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	file, err := filepath.Abs(p.cfg.SDK)
	if err != nil {
		file = p.cfg.SDK
	}
	err = pages.ExecuteTemplate(w, name, map[string]string{"File": file, "Setting": p.cfg.SDK, "Version": sdkVersion})
	if err != nil {
		p.cfg.Logger.WarnContext(r.Context(), "demo: the page could not be made", "error", err)
	}
}

func (p *Page) getSDK(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	http.ServeFile(w, r, p.cfg.SDK)
}

func (p *Page) getFile(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, embedded, path.Join("static", path.Base(r.PathValue("file"))))
}

// visit is what a page begins with.
type visit struct {
	AppKey string   `json:"app_key"`
	Group  string   `json:"group"`
	People []person `json:"people"`
}

type person struct {
	User  string `json:"user"`
	Name  string `json:"name"`
	Token string `json:"token"`
}

// postVisit makes new people and a group of them.
func (p *Page) postVisit(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if !p.visits.Allow() {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), visitTime)
	defer cancel()
	suffix := "-" + strings.ToLower(rand.Text()[:8])
	v := visit{AppKey: AppKey, People: make([]person, len(people))}
	users := make([]string, len(people))
	for i, name := range people {
		users[i] = strings.ToLower(name) + suffix
	}
	group, tokens, err := p.cfg.Host.Begin(ctx, users)
	if err != nil {
		p.cfg.Logger.ErrorContext(ctx, "demo: a visit could not begin", "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	v.Group = group
	for i, name := range people {
		v.People[i] = person{users[i], name, tokens[i]}
	}
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}
