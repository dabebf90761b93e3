package msync_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// BenchmarkReceipts is the time from a reader's send to the author's page, with 2,000 connected
// clients and 2,000 receipts a second. Clients and server share the processors.
func BenchmarkReceipts(b *testing.B) {
	const pairs, perSecond = 1000, 2000
	s := startServer(b, open, func(c *config.Config) { c.Logging.Level = "error" })
	var readers, authors [pairs]*client
	for i := range pairs {
		readers[i] = s.login(fmt.Sprint("reader", i), "web")
		authors[i] = s.login(fmt.Sprint("author", i), "web")
	}
	// The messages that will be read, over HTTP: as many for each pair as are needed.
	each := b.N/pairs + 1
	for i := range pairs {
		var list strings.Builder
		for k := range each {
			fmt.Fprintf(&list, `{"type":"message.sent","id":"%d","from":"author%d","peer":"reader%d"}`+"\n", 1+i*each+k, i, i)
		}
		s.ndjson(list.String())
	}
	var mu sync.Mutex
	sent := make([]time.Time, pairs*each+1)
	took := make([]time.Duration, 0, b.N)
	var all sync.WaitGroup
	all.Add(b.N)
	for _, a := range authors {
		a.mu.Lock()
		a.onMeta = func(m *msyncpb.Meta) {
			now := time.Now()
			id := a.body(m).GetAckMessageId()
			mu.Lock()
			defer mu.Unlock()
			took = append(took, now.Sub(sent[id]))
			all.Done()
		}
		a.mu.Unlock()
	}
	b.ResetTimer()
	began := time.Now()
	for n := range b.N {
		// At a constant rate.
		time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / perSecond)))
		id := uint64(1 + (n%pairs)*each + n/pairs)
		mu.Lock()
		sent[id] = time.Now()
		mu.Unlock()
		readers[n%pairs].sendBody(fmt.Sprint("author", n%pairs), false, readReceipt(id))
	}
	all.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
}

// BenchmarkGroupMessage is the time from a send to a group of 200 to its answer: 200 inboxes, one
// sync.
func BenchmarkGroupMessage(b *testing.B) {
	s := startServer(b, open, func(c *config.Config) { c.Logging.Level = "error" })
	members := make([]string, 199)
	for i := range members {
		members[i] = fmt.Sprint("member", i)
	}
	s.group("g1", "ann", members...)
	ann := s.login("ann", "web")
	for b.Loop() {
		ann.ok(ann.sendMeta(&msyncpb.Meta{
			To: &msyncpb.Name{Name: proto.String("g1"), Domain: proto.String("conference.easemob.com")}, Ns: proto.Int32(1),
			Payload: encode(groupText("a message of some fifty bytes, as people write them", true)),
		}))
	}
}
