package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
)

// keys is a register in memory, some of whose changes are overtaken.
type keys struct {
	random *rand.Rand
	values map[string][]byte
	at     map[string]uint64
	next   uint64
}

func newKeys(random *rand.Rand) *keys {
	return &keys{random: random, values: map[string][]byte{}, at: map[string]uint64{}}
}

func (k *keys) Get(_ context.Context, key string) ([]byte, uint64, error) {
	if k.at[key] == 0 {
		return nil, 0, ErrNotFound
	}
	return k.values[key], k.at[key], nil
}

func (k *keys) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.Update(ctx, key, value, 0)
}

func (k *keys) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if k.at[key] != revision || k.random.IntN(4) == 0 {
		return 0, fmt.Errorf("%w: %s", ErrConflict, key)
	}
	k.next++
	k.values[key], k.at[key] = value, k.next
	return k.next, nil
}

// Whoever has the log open when a repartition is announced is found to, however it got there, and
// nobody opens it until that is finished.
func TestRosterHasAllThatMayPublish(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		r, ctx := newKeys(random), t.Context()
		may := map[eventlog.PublisherID]bool{} // killed ones may stand still
		var open []eventlog.PublisherID
		for i := range 1 + random.IntN(20) {
			p := eventlog.PublisherID{Node: fmt.Sprint("n", random.IntN(3)), Epoch: fmt.Sprint(i)}
			if now, err := SignOn(ctx, r, p); err != nil || now.Partitions != 0 {
				t.Fatalf("%+v, %v", now, err)
			}
			may[p], open = true, append(open, p)
			if random.IntN(2) == 0 {
				gone := random.IntN(len(open))
				if err := SignOff(ctx, r, open[gone]); err != nil {
					t.Fatal(err)
				}
				delete(may, open[gone])
				open = slices.Delete(open, gone, gone+1)
			}
		}
		if err := BeginRepartition(ctx, r, 2, 4); err != nil {
			t.Fatal(err)
		}
		if err := BeginRepartition(ctx, r, 4, 8); !errors.Is(err, ErrRefused) {
			t.Errorf("a second one at the same time: %v", err)
		}
		late := eventlog.PublisherID{Node: "n0", Epoch: "late"}
		_, err := SignOn(ctx, r, late)
		if under, ok := errors.AsType[*RepartitioningError](err); !ok || under.Roster.To != 4 {
			t.Fatalf("one that begins meanwhile: %v", err)
		}
		still, err := OpenPublishers(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range still {
			delete(may, p)
		}
		if len(may) > 0 || slices.Contains(still, late) {
			t.Fatalf("not on the roster: %v", may)
		}
		for range 2 { // by two nodes
			if err := FinishRepartition(ctx, r, 4); err != nil {
				t.Fatal(err)
			}
		}
		if now, err := SignOn(ctx, r, late); err != nil || now.Partitions != 4 || len(now.Publishers) != 1 || len(now.Superseded) > 0 {
			t.Fatalf("afterwards: %+v, %v", now, err)
		}
		if err := BeginRepartition(ctx, r, 2, 4); !errors.Is(err, ErrRefused) {
			t.Errorf("by one who has not heard of it: %v", err)
		}
	}
}

// A node that is killed again and again does not fill the roster, and its last ones stay on it.
func TestRosterForgetsTheOldest(t *testing.T) {
	r := newKeys(rand.New(rand.NewPCG(1, 2)))
	var now Roster
	for i := range 50 {
		for _, node := range []string{"a", "b"} {
			var err error
			if now, err = SignOn(t.Context(), r, eventlog.PublisherID{Node: node, Epoch: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(now.Publishers) != 2 || len(now.Superseded) != 2*supersededKept || !slices.Contains(now.Superseded, eventlog.PublisherID{Node: "a", Epoch: "48"}) {
		t.Errorf("%+v", now)
	}
}
