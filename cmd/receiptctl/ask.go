package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
)

// inApp are the flags of a command that works on an app.
type inApp struct {
	App string `placeholder:"ORG/APP" help:"The app."`
}

// Validate finds what is wrong with the app.
func (a inApp) Validate() error {
	if a.App == "" {
		return config.Problem{Setting: "app", Reason: "is needed: --app ORG/APP, or once for all commands of a shell: export RECEIPTD_APP=ORG/APP"}
	}
	return checkApp(a.App)
}

func checkApp(app string) error {
	if _, _, err := ctl.SplitApp(app); err != nil {
		return config.Problem{Setting: "app", Reason: fmt.Sprintf("%q %v", app, err)}
	}
	return nil
}

// inConversation are the flags that say in which conversation a message is.
type inConversation struct {
	Group string `placeholder:"ID" help:"Group of the message. Needed, or --users, if several conversations have a message with this id."`
	Users string `placeholder:"ID,ID" help:"The two users of the single chat of the message."`
}

func (c inConversation) query() url.Values { return queryOf("group", c.Group, "users", c.Users) }

// queryOf is a query of names and values, without those that are empty.
func queryOf(pairs ...string) url.Values {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	return query
}

// question is a call of the API.
type question struct {
	method, path string
	query        url.Values
	in           any
	// asIs prints the answer as the server gave it.
	asIs bool
}

// of is the question about what is below an app.
func (a inApp) of(method string, asIs bool, below ...string) question {
	path, _ := ctl.AppPath(a.App, below...) // Validate has seen the app
	return question{method: method, path: path, asIs: asIs}
}

// ask asks the server, and prints the answer for people or as it is.
func ask[T any](ctx context.Context, target ctl.Target, std streams, q question, print func(io.Writer, *T) error) (answer T, err error) {
	client, err := target.Client()
	if err != nil {
		return answer, err
	}
	var raw json.RawMessage
	if err := client.Call(ctx, q.method, q.path, q.query, q.in, &raw); err != nil {
		return answer, explain(err)
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return answer, fmt.Errorf("decode the answer: %w", err)
	}
	if q.asIs {
		_, err = fmt.Fprintf(std.out, "%s\n", raw)
		return answer, err
	}
	return answer, print(std.out, &answer)
}

// advice says what to do about an error of the server, by its code.
var advice = map[string]string{
	"app_not_found": "receiptctl app list shows the apps there are; receiptctl app configure makes one",
	"ambiguous":     "say which conversation by --group ID or --users ID,ID",
	"unauthorized":  "the key is not this server's: give --admin-key, or --data with its data directory",
}

// explain adds to an error what to do.
func explain(err error) error {
	var answer *ctl.Error
	if errors.As(err, &answer) && advice[answer.Code] != "" {
		return fmt.Errorf("%w; %s", err, advice[answer.Code])
	}
	return err
}

// table prints rows below a heading, the columns of each separated by tabs.
func table(w io.Writer, heading string, rows []string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(append([]string{heading}, rows...), "\n"))
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// columns is a row of a table, harmless whatever a server has put into it. A time that there is
// none of is "never".
func columns(values ...any) string {
	text := make([]string, len(values))
	for i, v := range values {
		text[i] = ctl.TerminalSafe(fmt.Sprint(v))
		if at, ok := v.(time.Time); ok {
			text[i] = "never"
			if !at.IsZero() {
				text[i] = string(events.AppendTime(nil, at.UnixMilli()))
			}
		}
	}
	return strings.Join(text, "\t")
}
