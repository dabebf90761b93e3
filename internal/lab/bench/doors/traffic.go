package doors

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/ctl"
)

const (
	// app is made for the runs.
	app = "bench#doors"
	// groups have one message of each run, which everybody reads: a repeat is a duplicate, and
	// costs the same up to the fold.
	groups = 64
	// members are in each group; the clients share them.
	members = 1024

	// countedWithin is how long the last receipts may take to be counted.
	countedWithin = time.Minute
)

// traffic is what the clients of a run send.
type traffic struct {
	run   string // names its messages: runs on one server do not count each other's readers
	users int    // that a client sends for
}

func newTraffic(clients int) *traffic {
	return &traffic{run: strconv.FormatInt(time.Now().UnixMicro(), 36), users: max(1, members/clients)}
}

// place is the group of the n-th receipt of a client, and its reader.
func (t *traffic) place(client, n int) (group, user int) {
	return (n + client) % groups, (client*t.users + n/groups%t.users) % members
}

func (t *traffic) message(group int) string { return fmt.Sprint(t.run, "-", group) }

// body is the n-th receipt of a client.
func (t *traffic) body(client, n int) []byte {
	group, user := t.place(client, n)
	return fmt.Appendf(nil, `{"type":"message.read","message":"%s-%d","user":"u%d","group":"g%d"}`, t.run, group, user, group)
}

// readers are how many have read each message once so many receipts of each client are stored, by
// its id.
func (t *traffic) readers(stored []int64) map[string]int {
	var read [groups][members]bool
	for client, n := range stored {
		for k := range min(int(n), groups*t.users) { // the rest are repeats
			group, user := t.place(client, k)
			read[group][user] = true
		}
	}
	counts := map[string]int{}
	for group := range read {
		n := 0
		for _, has := range read[group] {
			if has {
				n++
			}
		}
		counts[t.message(group)] = n
	}
	return counts
}

// prepare makes the app, its groups and the run's messages.
func (t *traffic) prepare(ctx context.Context, server *ctl.Client) error {
	settings := map[string]any{"group_receipts": map[string]any{"enabled": true, "max_group_size": 0}}
	if err := server.Call(ctx, "PUT", appPath(), nil, settings, nil); err != nil {
		return err
	}
	everybody := make([]string, members)
	for i := range everybody {
		everybody[i] = fmt.Sprint("u", i)
	}
	for g := range groups {
		var list []json.RawMessage
		for _, e := range []events.Event{
			{Kind: events.GroupCreated, Group: fmt.Sprint("g", g), User: "owner", Members: everybody},
			{Kind: events.MessageSent, Group: fmt.Sprint("g", g), Message: t.message(g), User: "owner", Receipt: true},
		} {
			list = append(list, events.AppendJSON(nil, &e))
		}
		if err := server.Call(ctx, "POST", appPath()+"/events", map[string][]string{"wait": {"applied"}}, list, nil); err != nil {
			return err
		}
	}
	return nil
}

func appPath() string { return "/v1/apps/" + strings.Replace(app, "#", "/", 1) }

// check waits until the messages have the readers that the clients were answered, and compares the
// state with what the log gives again.
func (t *traffic) check(ctx context.Context, server *ctl.Client, clients []*client) (checked int, err error) {
	var stored []int64
	for _, c := range clients {
		stored = append(stored, c.answered)
	}
	want := t.readers(stored)
	for end := time.Now().Add(countedWithin); ; {
		wrong, err := compare(ctx, server, want)
		if err != nil {
			return 0, err
		}
		if wrong == nil {
			break
		}
		if time.Now().After(end) {
			return 0, wrong
		}
		time.Sleep(50 * time.Millisecond) // the fold is behind
	}
	verified, err := server.Rebuild(ctx, "verify", nil, nil)
	if err == nil && !verified.Equal {
		err = fmt.Errorf("doors: the replayed state is not the live one: %+v", verified.Partitions)
	}
	return len(want), err
}

// compare asks for the counts of all messages. wrong says which one is another one; err that there
// was no answer.
func compare(ctx context.Context, server *ctl.Client, want map[string]int) (wrong, err error) {
	var ids []string
	for id := range want {
		ids = append(ids, id)
	}
	var answer struct {
		Counts map[string]struct{ Read int }
	}
	if err := server.Call(ctx, "POST", appPath()+"/messages:counts", nil, map[string]any{"ids": ids}, &answer); err != nil {
		return nil, err
	}
	for id, n := range want {
		if got, there := answer.Counts[id]; !there || got.Read != n {
			return fmt.Errorf("doors: message %s: %d readers, %d were answered", id, got.Read, n), nil
		}
	}
	return nil, nil
}
