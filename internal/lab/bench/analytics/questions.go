package analytics

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
	"github.com/receiptd/receiptd/internal/lab/chserver"
	"github.com/receiptd/receiptd/internal/lab/cookbook"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

const (
	// bounds are the settings of a server that shares its machine: a statement takes three
	// gigabytes and a minute and a half at most, and groups and sorts on the disk what is larger.
	bounds = "?max_memory_usage=3000000000&max_bytes_before_external_group_by=1000000000&max_bytes_before_external_sort=1000000000&max_execution_time=90"
	// questionMax bounds a question. It is longer than the API waits, so that it can be told how
	// long a question takes that is too large for it.
	questionMax = 100 * time.Second
	// askedTimes is how often a question is asked each way; the median is told.
	askedTimes = 3
	// enough is how long a question may take to be asked again.
	enough = 30 * time.Second
)

// Asked says how long a question of the cookbook took each way: 0 = it cannot be asked so.
type Asked struct {
	Question string  `json:"question"`
	API      float64 `json:"api_ms"`
	Page     float64 `json:"page_ms"`
	SQL      float64 `json:"sql_ms"`
	// RowsRead is how many rows the statement in SQL read.
	RowsRead uint64 `json:"sql_rows_read"`
	// Failed is what went wrong, if something did.
	Failed string `json:"failed,omitempty"`
}

// asker asks the cookbook's questions.
type asker struct {
	store  *ch.Store
	conn   driver.Conn
	server *chserver.Process
	// settings are the app's.
	settings events.Settings
	result   *QueryResult

	api    *httptest.Server
	client *http.Client
}

const (
	benchApp = "bench#app1"
	benchKey = "the admin key of the benchmark"
	// month is what is asked about where a question names no span.
	month = "&from=2026-03-01&to=2026-04-01"
)

// ask asks all questions that a document has.
func (a *asker) ask(ctx context.Context, document string) error {
	questions, recipes, err := cookbook.Read(document)
	if err != nil {
		return err
	}
	if err := a.serve(); err != nil {
		return err
	}
	defer a.api.Close()
	asked := map[string]bool{}
	for _, q := range questions {
		row := Asked{Question: q.Name}
		asked[q.Recipe] = true
		row.API = a.timed(&row, "API", q.API, func() error { return a.get(ctx, "/v1/apps/bench/app1/analytics/read-rate?"+inMonth(q.API)) })
		row.Page = a.timed(&row, "page", q.Page, func() error { return a.get(ctx, "/?app=bench/app1&"+inMonth(q.Page)) })
		i := slices.IndexFunc(recipes, func(r cookbook.Recipe) bool { return r.Title == q.Recipe })
		if i >= 0 {
			a.sql(ctx, &row, recipes[i].Query)
		}
		a.result.Questions = append(a.result.Questions, row)
	}
	for _, r := range recipes {
		if !asked[r.Title] && len(r.Statements) == 0 {
			row := Asked{Question: r.Title}
			a.sql(ctx, &row, r.Query)
			a.result.Questions = append(a.result.Questions, row)
		}
	}
	return nil
}

// inMonth adds a span to a question that has none.
func inMonth(query string) string {
	if strings.Contains(query, "from=") {
		return query
	}
	return query + month
}

// timed is the median of how long a question takes, in milliseconds.
func (a *asker) timed(row *Asked, way, question string, ask func() error) float64 {
	if question == "" {
		return 0
	}
	var took []float64
	for range askedTimes {
		began := time.Now()
		if err := ask(); err != nil {
			row.Failed += fmt.Sprintf("%s: %.500s; ", way, err)
			return 0
		}
		d := time.Since(began)
		took = append(took, float64(d.Microseconds())/1000)
		if d > enough {
			break
		}
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func (a *asker) sql(ctx context.Context, row *Asked, query string) {
	query = strings.NewReplacer("acme#chat", benchApp, "'club'", "'"+groups[0]+"'").Replace(query)
	row.SQL = a.timed(row, "SQL", query, func() error {
		before, err := a.server.RowsRead()
		if err != nil {
			return err
		}
		rows, err := a.conn.Query(ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		after, err := a.server.RowsRead()
		row.RowsRead = after - before
		if err != nil {
			return err
		}
		return rows.Err()
	})
}

func (a *asker) get(ctx context.Context, path string) error {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, a.api.URL+path, nil)
	if err != nil {
		return err
	}
	rq.Header.Set("Authorization", "Bearer "+benchKey)
	answer, err := a.client.Do(rq)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return err
}

// serve starts the API and the page on what was filled in, signed in.
func (a *asker) serve() error {
	secret := make([]byte, gateway.MinTokenKeyBytes)
	_, _ = rand.Read(secret)
	tokens, err := gateway.NewTokens(secret, time.Now)
	if err != nil {
		return err
	}
	api, err := httpapi.New(httpapi.Config{
		State: filledState{settings: a.settings}, Log: noLog{}, Commands: noCommands{}, Notify: notify.New(1, notify.Options{}), Analytics: a, Notary: noNotary{},
		Positions: noPositions{}, Invitations: noInvitations{}, Partitions: 1, Identity: 1, AdminKey: benchKey, Tokens: tokens, ClickHouse: true,
		Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Limits: httpapi.Limits{Request: questionMax},
	})
	if err != nil {
		return err
	}
	a.api = httptest.NewUnstartedServer(api)
	a.api.Config = api.Server()
	a.api.Start()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	a.client = &http.Client{Jar: jar}
	answer, err := a.client.PostForm(a.api.URL+"/", url.Values{"do": {"sign-in"}, "key": {benchKey}})
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// Rates answers from ClickHouse, as a server does that has one.
func (a *asker) Rates(ctx context.Context, q projections.RateQuery) (gateway.Rates, error) {
	page, err := a.store.ReadRates(ctx, q)
	return gateway.Rates{Rows: page.Rows, Total: page.Total, Source: gateway.SourceClickHouse}, err
}

// filledState is as much of the state as the questions need.
type filledState struct {
	httpapi.State
	settings events.Settings
}

func (s filledState) Apps() []string { return []string{benchApp} }
func (s filledState) Ready() error   { return nil }

// Alerts: no app has any.
func (s filledState) Alerts(string) ([]projections.Alert, int64, error) { return nil, 0, nil }

func (s filledState) FindApp(app string) (events.Settings, uint64, error) {
	if app != benchApp {
		return events.Settings{}, 0, projector.ErrNoApp
	}
	return s.settings, 1, nil
}

// Nobody asks these.
type (
	noLog         struct{ gateway.Log }
	noCommands    struct{ httpapi.Commands }
	noNotary      struct{ httpapi.Notary }
	noPositions   struct{ httpapi.Positions }
	noInvitations struct{ httpapi.Invitations }
)
