package msync_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// A message for which the inboxes have no room reaches nobody and is answered so that it may be
// sent again; then it arrives once.
func TestMessagesWithoutRoomAreSentAgain(t *testing.T) {
	s := startServer(t, open)
	members := []string{"ben"}
	for i := range 4000 {
		members = append(members, fmt.Sprintf("u%d", i))
	}
	s.group("g", "ann", members...)
	ann, ben := s.login("ann", "web"), s.login("ben", "web")
	// Each takes an eighth of what may wait of a sender; many are stored together.
	const messages = 60
	send := func(i int, id uint64) uint64 {
		if id == 0 {
			return ann.sendBody("g", true, groupText(fmt.Sprint(i), false))
		}
		b := groupText(fmt.Sprint(i), false)
		ann.note(func() { delete(ann.answers, id) })
		to := &msyncpb.Name{AppKey: proto.String(app), Name: proto.String("g"), Domain: proto.String("conference.easemob.com")}
		ann.sync(&msyncpb.SyncUp{Meta: &msyncpb.Meta{Id: &id, To: to, Ns: proto.Int32(1), Payload: encode(b)}})
		return id
	}
	ids := make([]uint64, messages)
	for i := range ids {
		ids[i] = send(i, 0)
	}
	refused := 0
	var again []int
	for i, id := range ids {
		if a := ann.answer(id); a.Status.GetCode() != msyncpb.Status_OK {
			ann.refused(id, "server is busy")
			again = append(again, i)
			refused++
		}
	}
	if refused == 0 {
		t.Fatal("there was room for all of them")
	}
	if n := s.metric(`receiptd_sdk_answers_total{kind="message.sent",reason="server is busy"}`); n != float64(refused) {
		t.Errorf("%v are counted, want %d", n, refused)
	}
	for _, i := range again { // one by one, so that there is room
		ann.ok(send(i, ids[i]))
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
	if !slices.Equal(got, want) {
		t.Errorf("ben was told %d messages, want each of %d once", len(got), len(want))
	}
}
