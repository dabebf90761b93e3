package msync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

func TestOfflineMessagesAndSummary(t *testing.T) {
	s := startServer(t, open)
	s.group("g1", "ann", "ben", "cleo")
	ann, ben, cleo := s.login("ann", "web"), s.login("ben", "web"), s.login("cleo", "web")
	var asked [3]uint64
	for i := range asked {
		asked[i] = ann.ok(ann.sendBody("g1", true, groupText(fmt.Sprint("q", i), true)))
	}
	ben.hears("text q2 from ann")
	cleo.hears("text q2 from ann")
	ann.heardOnly() // their own messages do not come back
	ann.logout()

	for _, m := range asked[:2] {
		ben.ok(ben.sendBody("g1", true, groupRead(m, "")))
	}
	cleo.ok(cleo.sendBody("g1", true, groupRead(asked[0], "")))
	counts := []string{fmt.Sprintf(" %d=2", asked[0]), fmt.Sprintf(" %d=1", asked[1])}
	slices.Sort(counts)
	want := []string{"statistic" + strings.Join(counts, "")}
	const n = 120
	for i := range n {
		ben.ok(ben.sendBody("ann", false, text(fmt.Sprint(i))))
		want = append(want, fmt.Sprintf("text %d from ben", i))
	}
	s.restart()
	ann = s.login("ann", "web")
	ann.hears(want...)
	ann.heardOnly(want...)
	if first := ann.unread[0].Unread; len(first) != 1 || first[0].GetN() != n+1 {
		t.Errorf("UNREAD is answered with %v, want one queue with %d", first, n+1)
	}
	ann.logout()

	// All of it is acknowledged: nothing comes again, whatever the device, and across a restart.
	s.restart()
	s.login("ann", "web").heardOnly()
	s.login("ann", "phone").heardOnly()
	// What is read now is told once more, with the latest count.
	ben = s.login("ben", "web")
	ann = s.login("ann", "web")
	ben.ok(ben.sendBody("g1", true, groupRead(asked[2], "")))
	ann.hears(fmt.Sprintf("group read %d=1 by ben: ", asked[2]))
}

// TestUnacknowledgedReceiptsAreToldAgain: what was pushed and not acknowledged is neither lost with
// the connection nor with the server.
func TestUnacknowledgedReceiptsAreToldAgain(t *testing.T) {
	s := startServer(t, open)
	s.group("g1", "ann", "ben", "cleo")
	ann, ben := s.manual("ann", "web"), s.login("ben", "web")
	m := ann.ok(ann.sendBody("g1", true, groupText("x", true)))
	ben.ok(ben.sendBody("g1", true, groupRead(m, "")))
	page := ann.nextPage()
	if got := ann.tellAll(page); !slices.Equal(got, []string{fmt.Sprintf("group read %d=1 by ben: ", m)}) {
		t.Fatalf("pushed %q", got)
	}
	ann.cut()
	statistic := fmt.Sprintf("statistic %d=1", m)
	for range 2 {
		ann = s.manual("ann", "web")
		ann.pull(0)
		page = ann.nextPage()
		if got := ann.tellAll(page); !slices.Equal(got, []string{statistic}) {
			t.Fatalf("after the connection broke: %q", got)
		}
		ann.cut()
		s.restart()
	}
	ann = s.manual("ann", "web")
	ann.pull(0)
	ann.pull(ann.nextPage().GetNextKey())
	if p := ann.nextPage(); !p.GetIsLast() {
		t.Fatalf("after the acknowledgement: %q", ann.tellAll(p))
	}
	s.restart() // right after: what was acknowledged is written down before the server stops
	s.login("ann", "web").heardOnly()
}

// TestReceiptIDsAreMadeOfWhatTheySay, so that the SDK drops a repeat.
func TestReceiptIDsAreMadeOfWhatTheySay(t *testing.T) {
	s := startServer(t, open)
	s.group("g1", "ann", "ben", "cleo")
	ann, ben := s.login("ann", "web"), s.login("ben", "web")
	m := ann.ok(ann.sendBody("g1", true, groupText("x", true)))
	ann.logout()
	ben.ok(ben.sendBody("g1", true, groupRead(m, "")))
	var ids []uint64
	for range 2 {
		ann := s.manual("ann", "web")
		ann.pull(0)
		ids = append(ids, ann.nextPage().Metas[0].GetId())
		ann.cut()
	}
	if ids[0] != ids[1] || ids[0] == 0 || ids[0]>>63 != 1 {
		t.Errorf("the same summary has the ids %v", ids)
	}
}

// TestPagesAreRepeatedUntilAcknowledged: a connection may break in the middle of a pull.
func TestPagesAreRepeatedUntilAcknowledged(t *testing.T) {
	s := startServer(t, open)
	ben := s.login("ben", "web")
	const n = 70 // more than a page
	for i := range n {
		ben.ok(ben.sendBody("ann", false, text(fmt.Sprint(i))))
	}
	ann := s.manual("ann", "web")
	eventually(t, "an answer to UNREAD", func() bool { ann.mu.Lock(); defer ann.mu.Unlock(); return len(ann.unread) == 1 })
	ann.pull(0)
	first := ann.nextPage()
	if first.GetIsLast() || len(first.Metas) == 0 || len(first.Metas) >= n {
		t.Fatalf("the first page has %d messages", len(first.Metas))
	}
	ann.pull(0) // "what I have not acknowledged"
	again := ann.nextPage()
	if !slices.Equal(ann.tellAll(first), ann.tellAll(again)) || first.GetNextKey() == again.GetNextKey() {
		t.Fatal("a page that was not acknowledged must come again, with another key")
	}
	ann.cut()

	ann = s.manual("ann", "web")
	ann.pull(first.GetNextKey()) // of the connection before
	third := ann.nextPage()
	if third.GetIsLast() { // it stands for nothing here
		ann.pull(0)
		third = ann.nextPage()
	}
	if !slices.Equal(ann.tellAll(first), ann.tellAll(third)) || third.GetNextKey() == first.GetNextKey() {
		t.Fatal("the page must come again on another connection")
	}
	// Both keys of a repeated page acknowledge it, and the late one does no harm.
	ann.pull(0)
	fourth := ann.nextPage()
	ann.pull(third.GetNextKey())
	rest := ann.nextPage()
	ann.pull(fourth.GetNextKey())
	if p := ann.nextPage(); !p.GetIsLast() {
		t.Fatalf("a late key is answered with %q", ann.tellAll(p))
	}
	ann.pull(rest.GetNextKey())
	if p := ann.nextPage(); !p.GetIsLast() {
		t.Fatalf("the end is %q", ann.tellAll(p))
	}
	if got := len(first.Metas) + len(rest.Metas); got != n {
		t.Errorf("%d messages, want %d", got, n)
	}
	ann.cut()
	s.login("ann", "web").heardOnly()
}

func TestAHeartbeatHealsAPageThatWasLost(t *testing.T) {
	t.Parallel()
	s := startServer(t, open)
	ann, ben := s.manual("ann", "web"), s.login("ben", "web")
	ben.ok(ben.sendBody("ann", false, text("x")))
	ann.nextPage() // and forget it
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		ann.heartbeat()
		time.Sleep(500 * time.Millisecond)
		ann.mu.Lock()
		listed := slices.ContainsFunc(ann.unread, func(u *msyncpb.UnreadDown) bool { return len(u.Unread) > 0 })
		ann.mu.Unlock()
		if listed {
			ann.pull(0)
			if got := ann.tellAll(ann.nextPage()); !slices.Equal(got, []string{"text x from ben"}) {
				t.Errorf("pulled %q", got)
			}
			return
		}
	}
	t.Error("no heartbeat found what is not acknowledged")
}

// TestSingleChatReceiptsAreToldAtTheNextLogin, once, and again as long as they are not
// acknowledged.
func TestSingleChatReceiptsAreToldAtTheNextLogin(t *testing.T) {
	s := startServer(t, open)
	ann, ben := s.login("ann", "web"), s.login("ben", "web")
	m1 := ann.ok(ann.sendBody("ben", false, text("one")))
	m2 := ann.ok(ann.sendBody("ben", false, text("two")))
	ann.logout()
	ben.ok(ben.sendBody("ann", false, receipt(msyncpb.Body_DELIVER_ACK, m1)))
	ben.ok(ben.sendBody("ann", false, receipt(msyncpb.Body_DELIVER_ACK, m2)))
	ben.ok(ben.sendBody("ann", false, readReceipt(m1)))
	ben.ok(ben.sendBody("ann", false, conversationRead()))

	want := []string{
		"conversation read by ben", fmt.Sprintf("delivered %d to ben", m1), fmt.Sprintf("delivered %d to ben", m2),
		fmt.Sprintf("read %d by ben", m1), fmt.Sprintf("read %d by ben", m2),
	}
	slices.Sort(want) // the number of the second message may be less than that of the first
	var ids []uint64
	for range 2 {
		ann = s.manual("ann", "web")
		ann.pull(0)
		page := ann.nextPage()
		got := ann.tellAll(page)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("told %q, want %q", got, want)
		}
		for _, m := range page.Metas {
			ids = append(ids, m.GetId())
		}
		ann.cut()
	}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != len(want) {
		t.Errorf("%d ids of %d receipts told twice: the SDK would not drop the repeats", n, len(want))
	}
	ann = s.login("ann", "web")
	ann.hears(want...)
	ann.logout()
	s.restart()
	s.login("ann", "web").heardOnly()
}

// TestAcknowledgedAndGone: an acknowledgement counts although the client logs out right after it.
func TestAcknowledgedAndGone(t *testing.T) {
	t.Parallel()
	s := startServer(t, open)
	ben := s.login("ben", "web")
	for k := range 40 {
		ben.ok(ben.sendBody("ann", false, text(fmt.Sprint(k))))
		ann := s.manual("ann", "web")
		ann.pull(0)
		page := ann.nextPage()
		if got, want := ann.tellAll(page), []string{fmt.Sprintf("text %d from ben", k)}; !slices.Equal(got, want) {
			t.Fatalf("told %q, want %q", got, want)
		}
		ann.pull(page.GetNextKey())
		ann.logout()
	}
	s.login("ann", "web").heardOnly()
}

// TestAQuickReturnIsNotToldAgain: what was acknowledged a moment ago is gathered, and counts all
// the same.
func TestAQuickReturnIsNotToldAgain(t *testing.T) {
	s := startServer(t, open)
	s.group("g1", "ann", "ben", "cleo")
	ben := s.login("ben", "web")
	for range 5 {
		ann := s.manual("ann", "web")
		m := ann.ok(ann.sendBody("g1", true, groupText("x", true)))
		d := ann.ok(ann.sendBody("ben", false, text("x")))
		ben.ok(ben.sendBody("g1", true, groupRead(m, "")))
		ben.ok(ben.sendBody("ann", false, readReceipt(d)))
		for told := 0; told < 2; {
			p := ann.nextPage()
			told += len(p.Metas)
			if !p.GetIsLast() {
				ann.pull(p.GetNextKey())
			}
		}
		if p := ann.nextPage(); !p.GetIsLast() {
			t.Fatalf("told %q", ann.tellAll(p))
		}
		ann.cut()
		ann = s.login("ann", "web")
		ann.heardOnly()
		ann.logout()
	}
}
