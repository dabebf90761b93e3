// Oapicodegen uses the client that oapi-codegen makes: TestGeneratedClients generates it and runs
// this.
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"clients/oapicodegen/api"
)

func main() {
	ctx := context.Background()
	client, err := api.NewClientWithResponses(os.Getenv("API"), api.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+os.Getenv("KEY"))
		return nil
	}))
	check(err)

	on := true
	var change api.PutAppJSONRequestBody
	change.GroupReceipts = &struct {
		AboveLimit                *api.AboveLimit           `json:"above_limit,omitempty"`
		Enabled                   *api.GroupReceiptsEnabled `json:"enabled,omitempty"`
		MaxGroupSize              *api.MaxGroupSize         `json:"max_group_size,omitempty"`
		MaxRequestsPerGroupPerDay *api.MaxRequests          `json:"max_requests_per_group_per_day,omitempty"`
		Validity                  *api.GroupValidity        `json:"validity,omitempty"`
		Visibility                *api.Visibility           `json:"visibility,omitempty"`
		WhoMayRequest             *api.WhoMayRequest        `json:"who_may_request,omitempty"`
	}{Enabled: &on}
	app, err := client.PutAppWithResponse(ctx, "made", "oapicodegen", &api.PutAppParams{}, change)
	check(err)
	if app.JSON200 == nil || !app.JSON200.GroupReceipts.Enabled {
		log.Fatalf("settings: %s", app.Body)
	}

	group, id := "g1", "m1"
	var list [3]api.Event
	check(list[0].FromGroupCreated(api.GroupCreated{Group: group, Owner: "ann", Members: []string{"ben"}}))
	check(list[1].FromMessageSent(api.MessageSent{Id: "m1", From: "ann", Group: &group, Receipt: &on}))
	check(list[2].FromMessageRead(api.MessageRead{Message: &id, User: "ben", Group: &group}))
	var body api.EventsBody
	check(body.FromEventsBody1(list[:]))
	wait := api.PostEventsParamsWaitApplied
	done, err := client.PostEventsWithResponse(ctx, "made", "oapicodegen", &api.PostEventsParams{Wait: &wait}, body)
	check(err)
	if done.JSON200 == nil || done.JSON200.Outcomes == nil {
		log.Fatalf("events: %s", done.Body)
	}
	for _, o := range *done.JSON200.Outcomes {
		if o.Outcome != "applied" {
			log.Fatalf("outcomes: %s", done.Body)
		}
	}

	summary, err := client.GetStatisticsWithResponse(ctx, "made", "oapicodegen", "ann", &api.GetStatisticsParams{})
	check(err)
	if s := summary.JSON200; s == nil || len(s.GroupAck) != 1 || s.GroupAck[0].Count != 1 {
		log.Fatalf("summary: %s", summary.Body)
	}
	missing, err := client.GetStatisticsWithResponse(ctx, "made", "nothing", "ann", &api.GetStatisticsParams{})
	check(err)
	if missing.JSON404 == nil || missing.JSON404.Error.Code != "app_not_found" {
		log.Fatalf("refusal: %s", missing.Body)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
