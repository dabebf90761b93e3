package msync_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// A message for which the inboxes have no room reaches nobody and is answered so that it may be
// sent again; then it arrives once, and is one in the log.
func TestMessagesWithoutRoomAreSentAgain(t *testing.T) {
	s := startServer(t, open)
	members := []string{"ben"}
	for i := range 4000 {
		members = append(members, fmt.Sprintf("u%d", i))
	}
	s.group("g", "ann", members...)
	ann, ben := s.login("ann", "web"), s.login("ben", "web")
	// Each takes an eighth of what may wait of a sender; many are stored together.
	const messages = 24
	send := func(i int, id uint64) uint64 {
		if id == 0 {
			return ann.sendBody("g", true, groupText(fmt.Sprint(i), false))
		}
		return ann.repeat(id, "g", groupText(fmt.Sprint(i), false))
	}
	ids := make([]uint64, messages)
	for i := range ids {
		ids[i] = send(i, 0)
	}
	refused := 0
	var again []int
	for i, id := range ids {
		if a := ann.answer(id); a.Status.GetCode() != msyncpb.Status_OK {
			again = append(again, i)
			if a.Status.GetReason() == "server is busy" {
				refused++
			}
		}
	}
	if refused == 0 {
		t.Fatal("there was room for all of them")
	}
	if n := s.metric(`receiptd_sdk_answers_total{kind="message.sent",reason="server is busy"}`); n != float64(refused) {
		t.Errorf("%v are counted, want %d", n, refused)
	}
	for _, i := range again { // one by one, so that there is room, sooner or later
		for ann.answer(send(i, ids[i])).Status.GetCode() != msyncpb.Status_OK {
			time.Sleep(100 * time.Millisecond)
		}
	}
	var want []string
	for i := range ids {
		want = append(want, fmt.Sprintf("text %d from ann", i))
	}
	ben.hears(want...)
	ben.settle()
	got := ben.describe()
	slices.Sort(got)
	slices.Sort(want)
	if refused < len(again) {
		// On a crowded machine some take too long to be stored in all inboxes. Sent again, they
		// come again, with the same id, which the SDK shows once.
		got = slices.Compact(got)
	}
	if !slices.Equal(got, want) {
		t.Errorf("ben was told %d messages, want each of %d once", len(got), len(want))
	}
	list, _ := s.api("GET", appPath+"/groups/g/messages?limit=1000", "").field("messages").([]any)
	if len(list) != messages {
		t.Errorf("%d messages are in the log, want %d, of which %d were refused at first", len(list), messages, refused)
	}
}

// repeat sends what was sent to a group before once more, as it was, and returns its id.
func (c *client) repeat(id uint64, group string, b *msyncpb.Body) uint64 {
	c.note(func() { delete(c.answers, id) })
	b.From, b.To = &msyncpb.Name{Name: proto.String("somebody else")}, &msyncpb.Name{Name: &group}
	to := &msyncpb.Name{AppKey: proto.String(app), Name: &group, Domain: proto.String("conference.easemob.com")}
	c.sync(&msyncpb.SyncUp{Meta: &msyncpb.Meta{Id: &id, To: to, Ns: proto.Int32(1), Payload: encode(b)}})
	return id
}

// A message that is sent again is the same one, over another connection and after a restart, too,
// and is not shown again once it was recalled; one that says something else is another one.
func TestASendAgainIsTheSameMessage(t *testing.T) {
	s := startServer(t, open)
	s.group("g", "ann", "ben")
	ann, ben := s.login("ann", "web"), s.login("ben", "web")
	first := ann.sendBody("g", true, groupText("1", true))
	id := ann.ok(first)
	ben.hears("text 1 from ann")
	inLog := func(want int) {
		t.Helper()
		if list, _ := s.api("GET", appPath+"/groups/g/messages", "").field("messages").([]any); len(list) != want {
			t.Errorf("%d messages are in the log, want %d", len(list), want)
		}
	}
	if again := ann.ok(ann.repeat(first, "g", groupText("1", true))); again != id {
		t.Errorf("sent again it is %d, was %d", again, id)
	}
	if other := ann.ok(ann.repeat(first, "g", groupText("2", true))); other == id {
		t.Error("another text is the same message")
	}
	inLog(2)
	ann.cut()
	ben.cut()
	s.restart()
	ann = s.login("ann", "web")
	if again := ann.ok(ann.repeat(first, "g", groupText("1", true))); again != id {
		t.Errorf("after a restart it is %d, was %d", again, id)
	}
	inLog(2)
	if other := s.login("ann", "phone"); other.ok(other.repeat(first, "g", groupText("1", true))) == id {
		t.Error("that of another device is the same message")
	}
	inLog(3)
	ann.ok(ann.sendBody("g", true, receipt(msyncpb.Body_RECALL, id)))
	cleo := s.login("cleo", "web")
	s.api("POST", appPath+"/events?wait=applied", `[{"type":"group.joined","group":"g","user":"cleo"}]`)
	ann.ok(ann.repeat(first, "g", groupText("1", true)))
	ann.ok(ann.sendBody("g", true, groupText("last", false)))
	cleo.heardOnly("text last from ann")
}

// A recall of which the inboxes could not take the notice is told once it is sent again, and not
// again by another recall.
func TestARecallWithoutRoomIsSentAgain(t *testing.T) {
	s := startServer(t, open)
	members := []string{"ben"}
	for i := range 4000 {
		members = append(members, fmt.Sprintf("u%d", i))
	}
	s.group("g", "ann", members...)
	ann, ben := s.login("ann", "web"), s.login("ben", "web")
	for try := range 20 {
		message, _ := ann.delivered("g", groupText(fmt.Sprint("try", try), false))
		var ids []uint64
		for i := range 30 {
			ids = append(ids, ann.sendBody("g", true, groupText(fmt.Sprint(try, "-", i), false)))
		}
		id := ann.sendBody("g", true, receipt(msyncpb.Body_RECALL, message))
		reason := ann.answer(id).Status.GetReason()
		for _, other := range ids {
			ann.answer(other)
		}
		if reason != "server is busy" {
			continue // there was room, or it came too late, and may be told again
		}
		if _, inTime := ann.deliveredAgain(id, "g", receipt(msyncpb.Body_RECALL, message)); !inTime {
			continue
		}
		told := fmt.Sprintf("recall %d by ann", message)
		ben.hears(told)
		ann.delivered("g", receipt(msyncpb.Body_RECALL, message))
		ann.delivered("g", groupText("last", false))
		ben.hears(told, "text last from ann")
		ben.settle()
		if n := len(slices.DeleteFunc(ben.describe(), func(line string) bool { return line != told })); n != 1 {
			t.Errorf("ben was told of the recall %d times", n)
		}
		return
	}
	t.Fatal("there was always room")
}

// delivered sends to a group until the inboxes have taken it, and reports whether they always did
// in time: what was late, as on a crowded machine, comes once more.
func (c *client) delivered(group string, b *msyncpb.Body) (message uint64, inTime bool) {
	return c.untilDelivered(c.sendBody(group, true, b), group, b)
}

// deliveredAgain is delivered for what was sent before, and refused.
func (c *client) deliveredAgain(id uint64, group string, b *msyncpb.Body) (message uint64, inTime bool) {
	return c.untilDelivered(c.repeat(id, group, b), group, b)
}

func (c *client) untilDelivered(id uint64, group string, b *msyncpb.Body) (message uint64, inTime bool) {
	for inTime = true; ; c.repeat(id, group, b) {
		a := c.answer(id)
		if a.Status.GetCode() == msyncpb.Status_OK {
			return a.GetServerId(), inTime
		}
		inTime = inTime && a.Status.GetReason() == "server is busy"
		time.Sleep(100 * time.Millisecond) // so that there is room, sooner or later
	}
}
