package events

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

// goldenDir holds encodings of version 1. The log keeps what was written for years: these files are
// only ever added to, and every later receiptd reads them.
const goldenDir = "testdata/v1"

// goldens are what the files hold. Do not change them; add to them.
func goldens() map[string][]Event {
	settings := DefaultSettings()
	other := Settings{
		OpenRegistration: true,
		GroupReceipts: GroupReceipts{
			Enabled: true, WhoMayRequest: WhoAdmins, Validity: Duration(90 * time.Minute), MaxGroupSize: 5000,
			Visibility: VisibleMembers, MaxRequestsPerGroupPerDay: 1000,
		},
	}
	const app = "easemob-demo#chatdemoui"
	return map[string][]Event{
		"empty": nil,
		"one":   {{App: app, Kind: MessageRead, Group: "181398206464001", User: "user00000042", Message: "1190461258324410368"}},
		"kinds": {
			{App: app, Kind: AppConfigured, Settings: &settings, Revision: 1},
			{App: app, Kind: GroupCreated, Group: "181398206464001", User: "anna", Members: []string{"ben", "clara", "消息"}, Admins: []string{"dora"}},
			{App: app, Kind: GroupCreated, Group: "alone", User: "anna"},
			{App: app, Kind: GroupJoined, Group: "181398206464001", User: "emil"},
			{App: app, Kind: GroupRole, Group: "181398206464001", User: "ben", Role: RoleAdmin},
			{App: app, Kind: GroupRole, Group: "181398206464001", User: "dora", Role: RoleMember},
			{App: app, Kind: MessageSent, Group: "181398206464001", User: "anna", Message: "1190461258324410368", Receipt: true},
			{App: app, Kind: MessageSent, Group: "181398206464001", User: "anna", Message: "1190461258324410369"},
			{App: app, Kind: MessageRead, Group: "181398206464001", User: "ben", Message: "1190461258324410368", Content: "ok"},
			{App: app, Kind: MessageRead, Group: "181398206464001", User: "clara", Message: "1190461258324410368", Strict: true},
			{App: app, Kind: MessageRead, Group: "181398206464001", User: "emil", Message: "1190461258324410368", Content: "ok", Time: 1_700_000_000_123},
			{App: app, Kind: MessageSent, Peer: "anna", User: "ben", Message: "m1", Time: 1_700_000_000_001},
			{App: app, Kind: MessageDelivered, Peer: "ben", User: "anna", Message: "m1"},
			{App: app, Kind: MessageDelivered, Peer: "ben", User: "anna", Message: "m1", Strict: true},
			{App: app, Kind: MessageRead, Peer: "ben", User: "anna", Message: "m1", Content: "gelesen"},
			{App: app, Kind: ConversationRead, Peer: "anna", User: "ben"},
			{App: app, Kind: ConversationRead, Group: "181398206464001", User: "emil"},
			{App: app, Kind: MessageRecalled, Group: "181398206464001", User: "anna", Message: "1190461258324410369"},
			{App: app, Kind: MessageRecalled, Peer: "anna", User: "ben", Message: "m1"},
			{App: app, Kind: GroupLeft, Group: "181398206464001", User: "clara"},
			{App: app, Kind: GroupDissolved, Group: "alone"},
			{App: app, Kind: StatisticSeen, User: "anna", Upto: 1 << 40},
			{App: "other#app", Kind: AppConfigured, Settings: &other, Revision: 7},
			{App: "other#app", Kind: MessageRead, Group: "181398206464001", User: "ben", Message: "1190461258324410368"},
		},
		"eventids": {
			{App: app, Kind: MessageRead, Group: "g", User: "ben", Message: "m1"},
			{App: app, Kind: MessageRead, Group: "g", User: "clara", Message: "m1", EventID: "f47ac10b-58cc-4372-a567-0e02b2c3d479"},
			{App: app, Kind: GroupJoined, Group: "g", User: "emil", EventID: "request-7/00000"},
			{App: app, Kind: GroupJoined, Group: "g", User: "fritz", EventID: "request-7/00001"},
			{App: app, Kind: GroupLeft, Group: "g", User: "fritz"},
			{App: app, Kind: ConversationRead, Peer: "anna", User: "ben", EventID: "消息"},
		},
		"uptos": {
			{App: app, Kind: ConversationRead, Peer: "anna", User: "ben", Message: "1190461258324410368", Strict: true},
			{App: app, Kind: ConversationRead, Peer: "anna", User: "ben"},
			{App: app, Kind: MessageRead, Peer: "anna", User: "ben", Message: "1190461258324410368"},
			{App: app, Kind: ConversationRead, Group: "g", User: "ben", Message: "m1", EventID: "1"},
			{App: app, Kind: MessageRecalled, Group: "g", User: "ben", Message: "m1", Strict: true},
		},
		"choices": {
			{App: app, Kind: AppConfigured, Revision: 2, Settings: &Settings{
				DeliveryReceipts: true, ReadReceipts: ReadReceiptsNever, Reciprocal: true, UnreadBy: UnreadByMessage, Invitations: InvitationsConsent,
			}},
			{App: app, Kind: UserConfigured, User: "ben", SendReads: ChoiceHide, SendDeliveries: ChoiceSend, Revision: 1},
			{App: app, Kind: UserConfigured, User: "ben", Group: "g", SendReads: ChoiceSend, Revision: 1},
			{App: app, Kind: UserConfigured, User: "ben", Peer: "anna", SendDeliveries: ChoiceHide, Revision: 3},
			{App: app, Kind: MessageSent, Group: "g", User: "anna", Message: "m1", Receipt: true, Silent: true},
			{App: app, Kind: MessageSent, Peer: "ben", User: "anna", Message: "m1", Silent: true},
			{App: app, Kind: ConversationMarkedUnread, Peer: "anna", User: "ben"},
			{App: app, Kind: ConversationMarkedUnread, Group: "g", User: "ben", EventID: "1"},
		},
		"devices": {
			{App: app, Kind: StatisticSeen, User: "anna", Device: "webim_firefox_1700000000000"},
			{App: app, Kind: StatisticSeen, User: "anna", Device: "phone", Upto: 1 << 40},
			{App: app, Kind: StatisticSeen, User: "anna", Upto: 7},
		},
		"times": {
			{App: app, Kind: AppConfigured, Revision: 3, Settings: &Settings{
				GroupReceipts: GroupReceipts{MaxGroupSize: 200, AboveLimit: AboveLimitCounts},
				ReceiptTime:   ReceiptTimeReported, MaxReportAge: Duration(36 * time.Hour),
			}},
			{App: app, Kind: MessageRead, Group: "g", User: "ben", Message: "m1", Time: 1_700_000_000_000},
		},
		"invitations": {
			{App: app, Kind: AppConfigured, Revision: 4, Settings: &Settings{Invitations: InvitationsConsent, InvitationValidity: Duration(48 * time.Hour)}},
		},
		"alerts": {
			{App: app, Kind: AppConfigured, Revision: 4, Settings: &Settings{Alerts: []AlertRule{
				{Name: "each group", After: Duration(24 * time.Hour), ReadBelow: 30, MinRecipients: 10},
				{Name: "the owner", By: AlertBySender, ID: "anna", After: Duration(time.Hour), MedianAbove: Duration(90 * time.Second)},
				{Name: "新年", By: AlertByLabel, ID: "新年", After: Duration(168 * time.Hour), ReadBelow: 100},
			}}},
			{App: app, Kind: AppConfigured, Revision: 5, Settings: &Settings{}},
		},
		"labels": {
			{App: app, Kind: MessageSent, Group: "g", User: "anna", Message: "m1", Receipt: true, Label: "spring-2026"},
			{App: app, Kind: MessageSent, Group: "g", User: "anna", Message: "m2", Receipt: true},
			{App: app, Kind: MessageRead, Group: "g", User: "ben", Message: "m1"},
			{App: app, Kind: MessageSent, Peer: "ben", User: "anna", Message: "m3", Label: "spring-2026"},
			{App: app, Kind: MessageSent, Peer: "ben", User: "anna", Message: "m4", Label: "新年", EventID: "1", Silent: true},
		},
		"imported": {
			{App: app, Kind: MessageSent, Group: "g", User: "anna", Message: "m1", Receipt: true, Time: 1_600_000_000_000, Imported: true},
			{App: app, Kind: MessageRead, Group: "g", User: "ben", Message: "m1", Time: 1_600_000_000_123, Imported: true},
			{App: app, Kind: MessageRead, Group: "g", User: "clara", Message: "m1"},
			{App: app, Kind: GroupLeft, Group: "g", User: "ben", Time: 1_600_000_000_124, Imported: true, EventID: "1"},
		},
		"level": {
			{App: LevelApp, Kind: RulesLevel, Revision: 2},
			{App: app, Kind: MessageRead, Group: "g", User: "ben", Message: "m1"},
		},
		"repartitioned": {
			{App: LevelApp, Kind: LogRepartitioned, Revision: 8},
			{App: app, Kind: MessageRead, Group: "g", User: "ben", Message: "m1"},
		},
		"ids":        goldenIDs(app),
		"receipts":   goldenReceipts(app, func(i int) string { return fmt.Sprintf("user%08d", i*7919%100_000_000) }),
		"compressed": goldenReceipts(app, func(i int) string { return fmt.Sprintf("%d@customers.example.com", i*7919) }),
	}
}

// goldenIDs are ids of every shape a table keeps.
func goldenIDs(app string) []Event {
	var evs []Event
	for _, user := range []string{
		"x", "7", "42", "007", "999", "u12", "u123", "u124", "u0999", "user-12345678", "user-00000001",
		"18446744073709551615", "9999999999999999999", "0000000000000000000", "1190461258324410368",
		"f47ac10b-58cc-4372-a567-0e02b2c3d479", "F47AC10B-58CC-4372-A567-0E02B2C3D479", "user:00000000-0000-0000-0000-000000000000",
		"über", "消息007", strings.Repeat("a", MaxIDBytes), strings.Repeat("1", MaxIDBytes), strings.Repeat("é", 62) + "1234",
	} {
		evs = append(evs, Event{App: app, Kind: ConversationRead, Group: "g", User: user})
	}
	return evs
}

// goldenReceipts are 40 messages of 5 groups, three at a time, read by 20 members and by some
// twice.
func goldenReceipts(app string, user func(i int) string) []Event {
	var evs []Event
	for i := range 400 {
		message := 3*(i/60) + i%3
		evs = append(evs, Event{
			App: app, Kind: MessageRead, Group: fmt.Sprint(181398206464001 + message%5*65536),
			User:    user(message%5*1000 + i/3%18),
			Message: fmt.Sprint(1190461258324410368 + message*4194304),
		})
	}
	return evs
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldenDir, name+".bin"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no golden file %s: write it with go test -update", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sameBytes fails with both sides as hex dumps, from the first line that differs.
func sameBytes(t *testing.T, name string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	g, w := strings.SplitAfter(hex.Dump(got), "\n"), strings.SplitAfter(hex.Dump(want), "\n")
	at := 0
	for at < min(len(g), len(w)) && g[at] == w[at] {
		at++
	}
	const context = 8
	t.Errorf("%s: %d bytes, want %d; from byte %#x\n got\n%swant\n%s", name, len(got), len(want), at*16,
		strings.Join(g[at:min(len(g), at+context)], ""), strings.Join(w[at:min(len(w), at+context)], ""))
}

func TestGoldenEntries(t *testing.T) {
	for name, evs := range goldens() {
		t.Run(name, func(t *testing.T) {
			b := newBuilder(evs)
			entry := b.Encode(nil)
			if *update {
				writeGolden(t, name, entry)
			}
			want := golden(t, name)
			var batch Batch
			if err := batch.Decode(want); err != nil {
				t.Fatal(err)
			}
			sameEvents(t, eventsOf(&batch), evs)
			// What the compression makes of the payload is its own affair.
			payload, err := new(Batch).payload(want)
			if err != nil {
				t.Fatal(err)
			}
			sameBytes(t, name, b.encoder.raw, payload)
			if len(payload) < len(entry) {
				sameBytes(t, name, entry, want)
			}
		})
	}
}

// The goldens must keep showing what they were made for.
func TestGoldenEntriesCoverTheFormat(t *testing.T) {
	if raw, entry := newBuilder(goldens()["compressed"]), golden(t, "compressed"); len(entry) >= len(raw.Encode(nil))+16 || !bytes.Contains(entry, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		t.Error("compressed: holds no zstd frame")
	}
	var batch Batch
	if err := batch.Decode(golden(t, "kinds")); err != nil {
		t.Fatal(err)
	}
	kinds := slices.Clone(batch.Kinds)
	if err := batch.Decode(golden(t, "choices")); err != nil {
		t.Fatal(err)
	}
	kinds = append(kinds, batch.Kinds...)
	for _, name := range []string{"level", "repartitioned"} {
		if err := batch.Decode(golden(t, name)); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, batch.Kinds...)
	}
	for k := MessageSent; k < kindEnd; k++ {
		if !slices.Contains(kinds, k) {
			t.Errorf("kinds: no %s", k)
		}
	}
}

func TestGoldenEventList(t *testing.T) {
	evs := slices.DeleteFunc(goldens()["kinds"], func(e Event) bool { return e.Kind.Internal() })
	for i := range evs {
		evs[i].App = ""
	}
	list := AppendEventList(nil, evs)
	if *update {
		writeGolden(t, "eventlist", list)
	}
	want := golden(t, "eventlist")
	sameBytes(t, "eventlist", list, want)
	got, err := decodeEventList(want)
	if err != nil {
		t.Fatal(err)
	}
	sameEvents(t, got, evs)
}

func writeGolden(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(goldenDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(goldenDir, name+".bin"), data, 0o644); err != nil {
		t.Fatal(err)
	}
}
