package doors

import (
	"os"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
)

func TestMain(m *testing.M) {
	child.ServeIfAsked()
	os.Exit(m.Run())
}

// Through every door of a real server, run after run, every count is what was answered; one that is
// not is told.
func TestCountsAreWhatWasAnswered(t *testing.T) {
	self, err := child.ThisProgram()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() // removed after the server has ended
	server := child.NewReceiptd(self, child.NDJSON).WithNATS()
	t.Cleanup(func() { _ = server.Stop() })
	if err := server.Start(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	client, err := ctl.NewClient(server.URL(), server.Key())
	if err != nil {
		t.Fatal(err)
	}
	for _, door := range []string{"nats", "stream", "http"} {
		o := Options{Server: client, Key: server.Key(), NATS: server.NATS(), Door: door, Clients: 3, InFlight: 16, Duration: 500 * time.Millisecond}
		r, err := Run(t.Context(), o)
		if err != nil || r.Receipts == 0 || r.CountsChecked != groups || !(r.P999 >= r.P99) {
			t.Errorf("%s: %+v, %v", door, r, err)
		}
	}
	tr := newTraffic(2)
	if err := tr.prepare(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if wrong, err := compare(t.Context(), client, tr.readers([]int64{0, 0})); wrong != nil || err != nil {
		t.Errorf("nothing was sent: %v, %v", wrong, err)
	}
	if wrong, err := compare(t.Context(), client, tr.readers([]int64{0, 1})); wrong == nil || err != nil {
		t.Errorf("a receipt that was answered is missing, which nobody is told: %v", err)
	}
}

// The ledger says what a plain count of the receipts says.
func TestReadersAreThoseOfTheReceipts(t *testing.T) {
	tr := newTraffic(3)
	for _, stored := range []int64{0, 1, groups, groups*int64(tr.users) - 1, groups*int64(tr.users) + 5} {
		read := map[string]map[int]bool{}
		for n := range int(stored) {
			for client := range 3 {
				group, user := tr.place(client, n)
				if read[tr.message(group)] == nil {
					read[tr.message(group)] = map[int]bool{}
				}
				read[tr.message(group)][user] = true
			}
		}
		for message, n := range tr.readers([]int64{stored, stored, stored}) {
			if n != len(read[message]) {
				t.Errorf("%d receipts of each: %s has %d readers, not %d", stored, message, n, len(read[message]))
			}
		}
	}
}
