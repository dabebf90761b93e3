package clickhouse_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
	"github.com/receiptd/receiptd/internal/lab/cookbook"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

const (
	questionsApp = "acme#chat"
	questionsKey = "the admin key of the questions"
	// month is asked about where a question names no span.
	month = "from=2026-03-01&to=2026-04-01"
)

// meant is what each row of the table asks, told apart from how the API reads it.
var meant = map[string]projections.RateQuery{
	"worst groups":                           {By: projections.ByGroup, Sort: projections.SortRate, Reverse: true, MinMessages: 3},
	"best senders":                           {By: projections.BySender, Sort: projections.SortRate, MinMessages: 20},
	"how soon, of readers and of recipients": {By: projections.ByApp},
	"how soon a campaign is read":            {By: projections.ByApp, Label: "spring"},
	"how a campaign goes":                    {By: projections.ByLabel},
	"who has not read a campaign":            {By: projections.ByReader, Label: "spring", Sort: projections.SortRate, Reverse: true, MinMessages: 1},
	"who never reads":                        {By: projections.ByReader, Sort: projections.SortRate, Reverse: true, MinMessages: 5},
	"what nobody read":                       {By: projections.ByMessage, Sort: projections.SortRate, Reverse: true, MinMessages: 1},
	"who reads most":                         {By: projections.ByReader, Sort: projections.SortRead},
	"when to send":                           {By: projections.ByWeekHour, Zone: zone("Asia/Kolkata")},
	"this week and the last":                 {By: projections.ByGroup, From: day(9), To: day(16)},
	"is it getting better":                   {By: projections.ByDay},
}

func zone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return z
}

// day is a day of March.
func day(n int) int64 { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC).UnixMilli() }

// TestQuestionsOfTheTable asks the API and the page each question of docs/analytics.md as it stands
// there, and compares the answers with the model.
func TestQuestionsOfTheTable(t *testing.T) {
	questions, _, err := cookbook.Read("../../docs/analytics.md")
	if err != nil {
		t.Fatal(err)
	}
	store, model := clickhouse.NewFortnight(t)
	s := serveQuestions(t, store)
	left := maps.Clone(meant)
	for _, question := range questions {
		q, known := left[question.Name]
		delete(left, question.Name)
		if !known {
			t.Errorf("%s: nothing is known of this question", question.Name)
			continue
		}
		t.Run(question.Name, func(t *testing.T) {
			q.App, q.Limit = questionsApp, 100_000
			if q.From == 0 {
				q.From, q.To = day(1), day(32)
			}
			s.asksTheAPI(t, question.API, q, model)
			if question.Page != "" {
				s.asksThePage(t, question)
			}
		})
	}
	for name := range left {
		t.Errorf("%s is not in the table", name)
	}
}

// questionsServer is the API over the two weeks.
type questionsServer struct {
	httpapi.State
	store  *clickhouse.Store
	url    string
	client *http.Client
}

func (s *questionsServer) Rates(ctx context.Context, q projections.RateQuery) (gateway.Rates, error) {
	page, err := s.store.ReadRates(ctx, q)
	return gateway.Rates{Rows: page.Rows, Total: page.Total, Source: gateway.SourceClickHouse}, err
}

func (s *questionsServer) Apps() []string { return []string{questionsApp} }
func (s *questionsServer) Ready() error   { return nil }

func (s *questionsServer) FindApp(app string) (events.Settings, uint64, error) {
	if app != questionsApp {
		return events.Settings{}, 0, projector.ErrNoApp
	}
	return events.DefaultSettings(), 1, nil
}

func serveQuestions(t *testing.T, store *clickhouse.Store) *questionsServer {
	t.Helper()
	s := &questionsServer{store: store}
	tokens, err := gateway.NewTokens(bytes.Repeat([]byte("k"), gateway.MinTokenKeyBytes), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Config{
		State: s, Analytics: s, Notify: notify.New(1, notify.Options{}), Partitions: 1, Identity: 1, AdminKey: questionsKey, Tokens: tokens, ClickHouse: true,
		Log: struct{ gateway.Log }{}, Commands: struct{ httpapi.Commands }{}, Notary: struct{ httpapi.Notary }{}, Positions: struct{ httpapi.Positions }{},
		Invitations: struct{ httpapi.Invitations }{}, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
		Limits: httpapi.Limits{Request: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(api)
	server.Config = api.Server()
	server.Start()
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.url, s.client = server.URL, &http.Client{Jar: jar}
	answer, err := s.client.PostForm(s.url+"/", url.Values{"do": {"sign-in"}, "key": {questionsKey}})
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return s
}

func (s *questionsServer) get(t *testing.T, path, accept string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+questionsKey)
	r.Header.Set("Accept", accept)
	answer, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v, %.500s", path, answer.StatusCode, err, body)
	}
	return body
}

// inMonth adds a span to a question that has none.
func inMonth(query string) string {
	if strings.Contains(query, "from=") {
		return query
	}
	return query + "&" + month
}

func apiPath(query string) string {
	return "/v1/apps/acme/chat/analytics/read-rate?" + inMonth(query)
}

// asksTheAPI compares what the API answers with what the model says to a query.
func (s *questionsServer) asksTheAPI(t *testing.T, asked string, q projections.RateQuery, model *oracle.Model) {
	var got struct{ Rows []gateway.RateLine }
	if err := json.Unmarshal(s.get(t, apiPath(asked)+"&limit=1000", "application/json"), &got); err != nil {
		t.Fatal(err)
	}
	want, total := model.Rates(q)
	if len(got.Rows) != min(total, 1000) || len(want) == 0 {
		t.Fatalf("%d rows, not %d", len(got.Rows), total)
	}
	before := q
	before.From, before.MinMessages = q.From-(q.To-q.From), 0
	before.To = q.From
	earlier, _ := model.Rates(before)
	comparing := strings.Contains(asked, "compare=previous")
	for i := range got.Rows {
		row := got.Rows[i]
		if what := want[i].Differs(rateRow(row.Key, row.RateNumbers)); what != "" {
			t.Fatalf("row %d: %s:\nAPI   %+v\nmodel %+v", i, what, row, want[i])
		}
		if (row.Compared != nil) != comparing {
			t.Fatalf("row %d: compared: %v", i, row.Compared)
		}
		if comparing {
			was := oracle.Rate{Key: row.Key}
			for _, r := range earlier {
				if r.Key == row.Key {
					was = r
				}
			}
			if what := was.Differs(rateRow(row.Key, *row.Compared)); what != "" {
				t.Fatalf("row %d, the span before: %s:\nAPI   %+v\nmodel %+v", i, what, row.Compared, was)
			}
		}
	}
}

// rateRow is a row as it was before the API wrote it.
func rateRow(key string, n gateway.RateNumbers) projections.RateRow {
	or := func(ms *float64, otherwise float64) float64 {
		if ms == nil {
			return otherwise
		}
		return *ms
	}
	return projections.RateRow{
		Key:          key,
		CohortCounts: projections.CohortCounts{Messages: n.Messages, Eligible: n.Eligible, Delivered: n.Delivered, Read: n.Read, Recalled: n.Recalled},
		P50:          or(n.P50, 0), P90: or(n.P90, 0), P99: or(n.P99, 0), R50: or(n.R50, projections.NotYet), R90: or(n.R90, projections.NotYet),
	}
}

// asksThePage compares the lines that the page has for a question with those of the API. The
// overview has its lines by hour, so their sums are compared.
func (s *questionsServer) asksThePage(t *testing.T, question cookbook.Question) {
	page := table(t, s.get(t, "/?app=acme/chat&"+inMonth(question.Page)+"&format=csv", "text/csv"))
	api := table(t, s.get(t, apiPath(question.API)+"&limit=100000", "text/csv"))
	if strings.Contains(question.Page, "view=overview") {
		if got, want := sums(page), sums(api); got != want {
			t.Errorf("the page has %s, the API %s", got, want)
		}
		return
	}
	if got, want := fmt.Sprint(page), fmt.Sprint(api); got != want {
		t.Errorf("the page has\n%.2000s\nthe API\n%.2000s", got, want)
	}
}

func table(t *testing.T, text []byte) [][]string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%v: %.500s", err, text)
	}
	return rows
}

// sums are messages, eligible, delivered and read of all rows.
func sums(rows [][]string) string {
	var all [4]int
	for _, row := range rows[1:] {
		for i := range all {
			var n int
			_, _ = fmt.Sscan(row[1+i], &n)
			all[i] += n
		}
	}
	return fmt.Sprint(all)
}
