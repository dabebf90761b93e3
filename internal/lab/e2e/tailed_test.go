package e2e

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
)

// tailLine is a line of receiptctl tail.
type tailLine struct {
	Partition int
	Sequence  uint64
	Index     int
	Stored    instant
	App       string
	Error     string

	Type, ID, From, User, Owner, Group, Peer, Message, Content, Role, Device string
	Receipt, Strict, Silent                                                  bool
	Members, Admins                                                          []string
	Time                                                                     instant
	Settings                                                                 *events.Settings
	Revision                                                                 uint64
	// Upto is a message or, in statistic.seen, a sequence.
	Upto    any
	EventID string `json:"event_id"`
	Label   string `json:"label"`

	SendReads      *bool `json:"send_read_receipts"`
	SendDeliveries *bool `json:"send_delivery_receipts"`
}

// choice is what a user has set: to send, to hide, or nothing.
func choice(send *bool) events.Choice {
	switch {
	case send == nil:
		return events.ChoiceNone
	case *send:
		return events.ChoiceSend
	}
	return events.ChoiceHide
}

// event is the event of the line.
func (l *tailLine) event() (events.Event, error) {
	kind := events.MessageSent
	for kind.Valid() && kind.String() != l.Type {
		kind++
	}
	if !kind.Valid() {
		return events.Event{}, fmt.Errorf("unknown type %q", l.Type)
	}
	roles := map[string]events.Role{"": events.RoleNone, "member": events.RoleMember, "admin": events.RoleAdmin, "owner": events.RoleOwner}
	e := events.Event{
		App: l.App, Kind: kind, Group: l.Group, Peer: l.Peer, Message: cmp.Or(l.ID, l.Message), User: cmp.Or(l.From, l.User, l.Owner),
		Content: l.Content, Role: roles[l.Role], Receipt: l.Receipt, Strict: l.Strict, Members: l.Members, Admins: l.Admins,
		Time: int64(l.Time), Settings: l.Settings, Revision: l.Revision,
		EventID: l.EventID, Device: l.Device, Silent: l.Silent, Label: l.Label, SendReads: choice(l.SendReads), SendDeliveries: choice(l.SendDeliveries),
	}
	switch upto := l.Upto.(type) {
	case string:
		e.Message = upto
	case float64:
		e.Upto = uint64(upto)
	}
	return e, nil
}

// tailed has the model decide the whole log, as receiptctl tail tells it.
func (s *server) tailed() *model {
	s.t.Helper()
	var status struct{ Partitions []struct{ Partition int } }
	s.must("GET", "/v1/status", nil, &status)
	m := &model{
		cluster: oracle.NewCluster(len(status.Partitions), oracle.DefaultLimits()), apps: map[string]bool{}, outcomes: map[int64]outcome{},
	}
	// A tail has no end. An app that is made now is the last entry of every partition.
	const last = "end#end"
	s.must("PUT", appPath(last), struct{}{}, nil)
	ended := 0
	var entry []tailLine
	err := s.tail(func(l tailLine) (bool, error) {
		if len(entry) > 0 && (l.Partition != entry[0].Partition || l.Sequence != entry[0].Sequence) {
			if err := m.apply(entry); err != nil {
				return false, err
			}
			entry = entry[:0]
		}
		entry = append(entry, l)
		if l.App == last {
			ended++
		}
		return ended < len(status.Partitions), nil
	})
	if err == nil {
		err = m.apply(entry)
	}
	if err != nil {
		s.t.Fatalf("tail: %v", err)
	}
	return m
}

// tail hands out the events of the log from its start until take has enough.
func (s *server) tail(take func(tailLine) (more bool, err error)) error {
	command := exec.Command(filepath.Join(programs, "receiptctl"), s.target([]string{"tail", "--from=start"})...)
	command.Env, command.Stderr = environ(), os.Stderr
	pipe, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(pipe, 1<<20)
	for more := true; more && err == nil; {
		var text []byte
		if text, err = lines.ReadBytes('\n'); err != nil {
			break
		}
		var l tailLine
		if err = json.Unmarshal(text, &l); err == nil {
			more, err = take(l)
		}
	}
	_ = command.Process.Signal(syscall.SIGTERM)
	_, _ = io.Copy(io.Discard, lines)
	if ended := command.Wait(); err == nil && ended != nil {
		err = fmt.Errorf("receiptctl: %w", ended)
	}
	return err
}

// apply decides the events of an entry.
func (m *model) apply(entry []tailLine) error {
	first := &entry[0]
	if first.Error != "" {
		m.cluster.Poison(first.Partition, first.Sequence, int64(first.Stored), first.Error)
		return nil
	}
	evs := make([]events.Event, len(entry))
	for i := range entry {
		l := &entry[i]
		if l.Index != i || l.Stored != first.Stored {
			return fmt.Errorf("entry %d of partition %d: line %d is event %d", l.Sequence, l.Partition, i, l.Index)
		}
		var err error
		if evs[i], err = l.event(); err != nil {
			return err
		}
		m.apps[l.App] = true
	}
	m.events += len(evs)
	for i, o := range m.cluster.Apply(first.Partition, first.Sequence, int64(first.Stored), evs) {
		if evs[i].Time != 0 {
			m.outcomes[evs[i].Time] = outcome{Outcome: o.String(), Code: o.Code(), Reason: o.Reason()}
		}
	}
	return nil
}
