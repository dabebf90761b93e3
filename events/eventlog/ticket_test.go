package eventlog_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
)

func TestNewTicketIsAtItsLocations(t *testing.T) {
	locations := []eventlog.Location{{Partition: 1, Sequence: 7, Index: 3}, {Sequence: 5}, {Partition: 1, Sequence: 9}}
	ticket := eventlog.NewTicket(locations, nil)
	if err := ticket.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(ticket.Locations()); !slices.Equal(got, locations) {
		t.Errorf("locations %v, want %v", got, locations)
	}
	want := []eventlog.Position{{Sequence: 5}, {Partition: 1, Sequence: 9}}
	if got := ticket.Positions(); !slices.Equal(got, want) {
		t.Errorf("positions %v, want %v", got, want)
	}
	if at := ticket.Locate(2); at != locations[2] {
		t.Errorf("event 2 at %v", at)
	}
}

func TestNewTicketFails(t *testing.T) {
	failure := errors.New("the disk is gone")
	if err := eventlog.NewTicket([]eventlog.Location{{Sequence: 1}}, failure).Wait(t.Context()); !errors.Is(err, failure) {
		t.Errorf("a failed ticket: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ticket := eventlog.NewTicket([]eventlog.Location{{}}, nil)
	if err := ticket.Wait(ctx); !errors.Is(err, context.Canceled) || len(ticket.Positions()) > 0 {
		t.Errorf("one that is never stored: %v, %v", err, ticket.Positions())
	}
}
