package events

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// trafficShape is a stream of group read receipts of one partition; or without groups of single
// chats, where each message is sent, delivered and read.
type trafficShape struct {
	name            string
	groups, members int
	// open is how many messages collect receipts at the same time: 1 is a perfect burst.
	open int
	// user makes the id of one of the users.
	user func(r *rand.Rand) string
}

func decimalUser(r *rand.Rand) string { return fmt.Sprintf("user%08d", r.IntN(1e8)) }

func randomUser(r *rand.Rand) string {
	const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := make([]byte, 16)
	for i := range b {
		b[i] = base62[r.IntN(len(base62))]
	}
	return string(b)
}

var trafficShapes = []trafficShape{
	{"decimal", 100, 50, 8, decimalUser},
	{"base62", 100, 50, 8, randomUser},
	{"uuid", 100, 50, 8, func(r *rand.Rand) string {
		return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), 0x8000|r.IntN(1<<14), r.Uint64N(1<<48))
	}},
	{"mixed", 100, 50, 64, decimalUser},
	{"single", 0, 5000, 64, decimalUser},
}

// traffic makes n receipts: each message is read by all members of its group, in random order,
// one in ten twice.
func (s *trafficShape) traffic(seed uint64, n int) []Event {
	r := rand.New(rand.NewPCG(seed, 1))
	if s.groups == 0 {
		return s.singleChats(r, n)
	}
	type group struct {
		id      string
		members []string
	}
	groups := make([]group, s.groups)
	for g := range groups {
		groups[g].id = fmt.Sprintf("%d", 100_000_000_000_000+r.Int64N(900_000_000_000_000))
		for range s.members {
			groups[g].members = append(groups[g].members, s.user(r))
		}
	}
	type message struct {
		group, id string
		readers   []string
	}
	clock := int64(1_700_000_000_000)
	send := func() message {
		g := &groups[r.IntN(len(groups))]
		clock += r.Int64N(50)
		m := message{group: g.id, id: fmt.Sprint(clock<<20 | r.Int64N(1<<20))}
		for _, i := range r.Perm(len(g.members))[1:] {
			m.readers = append(m.readers, g.members[i])
			if r.IntN(10) == 0 {
				m.readers = append(m.readers, g.members[i])
			}
		}
		r.Shuffle(len(m.readers), func(i, j int) { m.readers[i], m.readers[j] = m.readers[j], m.readers[i] })
		return m
	}
	open := make([]message, s.open)
	evs := make([]Event, n)
	for i := range evs {
		m := &open[r.IntN(len(open))]
		if len(m.readers) == 0 {
			*m = send()
		}
		evs[i] = Event{App: "easemob-demo#chatdemoui", Kind: MessageRead, Group: m.group, User: m.readers[0], Message: m.id}
		m.readers = m.readers[1:]
	}
	return evs
}

func (s *trafficShape) singleChats(r *rand.Rand, n int) []Event {
	users := make([]string, s.members)
	for i := range users {
		users[i] = s.user(r)
	}
	open := make([]Event, s.open) // what happens to each message next
	evs := make([]Event, n)
	for i := range evs {
		e := &open[r.IntN(len(open))]
		switch e.Kind {
		case MessageSent:
			e.Kind, e.User, e.Peer = MessageDelivered, e.Peer, e.User
		case MessageDelivered:
			e.Kind = MessageRead
		default:
			from := r.IntN(len(users))
			to := (from + 1 + r.IntN(20)) % len(users)
			id := fmt.Sprint(1_700_000_000_000<<20 + int64(i)*3_000_000 + r.Int64N(1<<20))
			*e = Event{App: "easemob-demo#chatdemoui", Kind: MessageSent, User: users[from], Peer: users[to], Message: id}
		}
		evs[i] = *e
	}
	return evs
}

var batchSizes = []int{128, 512, 4096}

// forEachShape runs a benchmark on a stream cut into batches.
func forEachShape(b *testing.B, run func(b *testing.B, evs []Event, size int)) {
	for _, s := range trafficShapes {
		evs := s.traffic(1, 16*4096)
		for _, size := range batchSizes {
			b.Run(fmt.Sprintf("%s/%d", s.name, size), func(b *testing.B) { run(b, evs, size) })
		}
	}
}

func reportReceipts(b *testing.B, receipts, bytes int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(receipts), "ns/receipt")
	if bytes > 0 {
		b.ReportMetric(float64(bytes)/float64(receipts), "B/receipt")
	}
}

func batchesOf(evs []Event, size int) [][]Event {
	var batches [][]Event
	for ; len(evs) >= size; evs = evs[size:] {
		batches = append(batches, evs[:size])
	}
	return batches
}

func encodeAll(evs []Event, size int) (entries [][]byte) {
	var builder Builder
	for _, batch := range batchesOf(evs, size) {
		builder.Reset()
		for i := range batch {
			builder.Add(&batch[i])
		}
		entries = append(entries, builder.Encode(nil))
	}
	return entries
}

// BenchmarkBuilder guards the publisher's cost per event.
func BenchmarkBuilder(b *testing.B) {
	for _, step := range []string{"Add", "AddEncode"} {
		b.Run(step, func(b *testing.B) {
			forEachShape(b, func(b *testing.B, evs []Event, size int) {
				var builder Builder
				var entry []byte
				batches := batchesOf(evs, size)
				receipts, bytes := 0, 0
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					batch := batches[i%len(batches)]
					builder.Reset()
					for i := range batch {
						builder.Add(&batch[i])
					}
					if step == "AddEncode" {
						entry = builder.Encode(entry[:0])
						bytes += len(entry)
					}
					receipts += len(batch)
				}
				reportReceipts(b, receipts, bytes)
			})
		})
	}
}

// BenchmarkBatchDecode guards the reader's cost per event.
func BenchmarkBatchDecode(b *testing.B) {
	forEachShape(b, func(b *testing.B, evs []Event, size int) {
		entries := encodeAll(evs, size)
		var batch Batch
		receipts := 0
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := batch.Decode(entries[i%len(entries)]); err != nil {
				b.Fatal(err)
			}
			receipts += batch.Len()
		}
		reportReceipts(b, receipts, 0)
	})
}

// BenchmarkEventList guards the cost per event of protobuf bodies.
func BenchmarkEventList(b *testing.B) {
	evs := trafficShapes[0].traffic(1, 1000)
	list := AppendEventList(nil, evs)
	b.Run("Decode", func(b *testing.B) {
		b.ReportAllocs()
		receipts := 0
		for b.Loop() {
			err := DecodeEventListOf("", list, func(int, *Event) error { receipts++; return nil })
			if err != nil {
				b.Fatal(err)
			}
		}
		reportReceipts(b, receipts, 0)
	})
	b.Run("Append", func(b *testing.B) {
		b.ReportAllocs()
		receipts, bytes := 0, 0
		for b.Loop() {
			list = AppendEventList(list[:0], evs)
			receipts, bytes = receipts+len(evs), bytes+len(list)
		}
		reportReceipts(b, receipts, bytes)
	})
}
