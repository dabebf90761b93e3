package easemob

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// readersWorld is a world with a message of ann's that all have read.
type readersWorld struct{ *fuzzWorld }

func (readersWorld) FindApp(string) (s events.Settings, revision uint64, err error) {
	s = events.DefaultSettings()
	s.GroupReceipts.Enabled = true
	return s, 1, nil
}

func (readersWorld) MessageIn(c events.Conversation, id, _ string) (projections.Found, error) {
	if id != "7" {
		return projections.Found{}, projections.ErrNotFound
	}
	return projections.Found{Message: projections.Message{ID: id, From: "ann", Group: c.Group, ReceiptRequested: true}}, nil
}

func (w readersWorld) Readers(_ events.Conversation, _ string, offset, limit int) (p projections.ReaderPage, err error) {
	if offset < 0 || limit < 1 || limit > maxReaders {
		w.t.Errorf("%d readers from %d on are asked for", limit, offset)
	}
	return projections.ReaderPage{Next: offset + 1}, nil
}

func (readersWorld) Conversations(string, string) ([]projections.ConversationView, error) {
	return []projections.ConversationView{{Group: "1"}, {Peer: "bob"}}, nil
}

// FuzzSDKQuery: whatever names and pages the SDK asks for, it is answered with an object, and never
// as if the server had failed; of a list no page is asked for that there cannot be.
func FuzzSDKQuery(f *testing.F) {
	paths := []string{"/users/*/joined_chatgroups", "/chatgroups/*", "/chatgroups/*/users", "/chatgroups/1/acks/*", "/chatgroups/*/acks/7"}
	for path := range uint8(len(paths)) {
		for _, query := range []string{
			"", "limit=3&key=undefined", "limit=-1&key=-1", "limit=1e9&key=x", "pagenum=1&pagesize=20", "pagenum=-9223372036854775808&pagesize=0", "pagenum=9223372036854775807&pagesize=1000", "%zz", "key=9223372036854775807",
		} {
			f.Add(path, "1", query, true)
			f.Add(path, "7", query, false)
			f.Add(path, "ann", query, false)
			f.Add(path, "\x00/..", query, true)
		}
	}
	tokens, err := gateway.NewTokens(make([]byte, gateway.MinTokenKeyBytes), time.Now)
	if err != nil {
		f.Fatal(err)
	}
	token, _, err := tokens.Mint("acme#chat", "ann", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path uint8, name, query string, admin bool) {
		if name == "" || strings.Contains(name, "/") {
			return // another path
		}
		w := &fuzzWorld{t: t}
		h := New(Config{
			State: readersWorld{w}, Log: w, Accounts: fuzzAccounts{w}, IDs: fuzzIDs{}, Tokens: tokens, AdminKey: "admin", Logger: slog.New(slog.DiscardHandler),
			Limits: Limits{RequestsPerUser: 10, RequestsPerAddress: 10, GroupMembers: fuzzMembers}, Registerer: prometheus.NewRegistry(),
		})
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = &url.URL{Path: "/acme/chat" + strings.ReplaceAll(paths[int(path)%len(paths)], "*", name), RawQuery: query}
		r.Header.Set("Authorization", "Bearer "+token)
		if admin {
			r.Header.Set("Authorization", "Bearer admin")
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		var object map[string]any
		if err := json.Unmarshal(answer.Body.Bytes(), &object); answer.Code >= 500 || err != nil && answer.Code != 301 && answer.Code != 307 {
			t.Errorf("%q?%q: %d %s", r.URL.Path, query, answer.Code, answer.Body)
		}
	})
}
