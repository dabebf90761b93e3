// Ogen uses the client that ogen makes: TestGeneratedClients generates it and runs this.
package main

import (
	"context"
	"log"
	"os"

	"github.com/ogen-go/ogen/ogenerrors"

	"clients/ogen/api"
)

// key gives the admin key to every call.
type key string

func (k key) Bearer(context.Context, api.OperationName) (api.Bearer, error) {
	return api.Bearer{Token: string(k)}, nil
}

func (k key) AccessToken(context.Context, api.OperationName) (api.AccessToken, error) {
	return api.AccessToken{}, ogenerrors.ErrSkipClientSecurity
}

func main() {
	ctx := context.Background()
	client, err := api.NewClient(os.Getenv("API"), key(os.Getenv("KEY")))
	check(err)

	app, err := client.PutApp(ctx, api.NewOptSettingsChange(api.SettingsChange{
		GroupReceipts: api.NewOptSettingsChangeGroupReceipts(api.SettingsChangeGroupReceipts{Enabled: api.NewOptGroupReceiptsEnabled(true)}),
	}), api.PutAppParams{Org: "made", App: "ogen"})
	check(err)
	if s, ok := app.(*api.Settings); !ok || !bool(s.GroupReceipts.Enabled) {
		log.Fatalf("settings: %T %+v", app, app)
	}

	group := api.NewOptNilOptionalID("g1")
	done, err := client.PostEvents(ctx, ptr(api.NewEventArrayEventsBody([]api.Event{
		api.NewGroupCreatedEvent(api.GroupCreated{Group: "g1", Owner: "ann", Members: []api.ID{"ben"}}),
		api.NewMessageSentEvent(api.MessageSent{ID: "m1", From: "ann", Group: group, Receipt: api.NewOptNilBool(true)}),
		api.NewMessageReadEvent(api.MessageRead{Message: api.NewOptID("m1"), User: "ben", Group: group}),
	})), api.PostEventsParams{Org: "made", App: "ogen", Wait: api.NewOptPostEventsWait(api.PostEventsWaitApplied)})
	check(err)
	answer, ok := done.(*api.Accepted)
	if !ok || len(answer.Outcomes) != 3 {
		log.Fatalf("events: %T %+v", done, done)
	}
	for _, o := range answer.Outcomes {
		if o.Outcome != api.OutcomeOutcomeApplied {
			log.Fatalf("outcomes: %+v", answer)
		}
	}

	summary, err := client.GetStatistics(ctx, api.GetStatisticsParams{Org: "made", App: "ogen", User: "ann"})
	check(err)
	if s, ok := summary.(*api.Statistic); !ok || len(s.GroupAck) != 1 || s.GroupAck[0].Count != 1 {
		log.Fatalf("summary: %T %+v", summary, summary)
	}
	missing, err := client.GetStatistics(ctx, api.GetStatisticsParams{Org: "made", App: "nothing", User: "ann"})
	check(err)
	if e, ok := missing.(*api.GetStatisticsNotFound); !ok || e.Error.Code != api.ErrorErrorCodeAppNotFound {
		log.Fatalf("refusal: %T %+v", missing, missing)
	}
}

func ptr[T any](v T) *T { return &v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
