package projections

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/receiptd/receiptd/events"
)

// app is a tenant.
type app struct {
	num uint32
	key string
	*configuration

	// In milliseconds of the fold's clock, 0 = no limit.
	groupValidity, singleValidity int64
	// maxReportAge is how long before now a receipt may have happened; 0 = it happens now.
	maxReportAge int64

	convs    map[convName]*conversation // the cached ones
	authors  map[string]*author         // the cached ones
	users    map[string]*configuredUser // the cached ones
	labels   labels
	parked   parkingLot
	rejected recent[Rejection]
	alerts   recent[Alert] // of groups
	parts    recent[Alert] // of senders and labels, whether or not they are an alert
	// anyConfigured: some user has set something for all of their conversations.
	anyConfigured bool
}

// configuration is settings that are or were in force. It does not change.
type configuration struct {
	settings events.Settings
	revision uint64
}

// apps are all apps of a partition. They stay in memory: only the admin makes them.
type apps struct {
	byKey map[string]*app
	byNum []*app
	// conversations is how many they have; the next one is numbered one higher.
	conversations uint64
	// waiting are those with parked receipts, and some that had, by number: each entry asks them.
	waiting []*app
	// configured has the *configuration in force by app key. It is read without the partition's
	// lock: every request at the edge asks for it.
	configured sync.Map
	// alerting: some app has rules for alerts.
	alerting bool
}

func newApps() apps { return apps{byKey: map[string]*app{}} }

func newApp(num uint32, key string) *app {
	return &app{
		num: num, key: key, configuration: new(configuration),
		convs: map[convName]*conversation{}, authors: map[string]*author{}, users: map[string]*configuredUser{}, parked: newParkingLot(),
	}
}

// add adds an app that has the next number.
func (l *apps) add(a *app) {
	l.byKey[a.key] = a
	l.byNum = append(l.byNum, a)
}

// park notes that an app has parked receipts.
func (l *apps) park(a *app) {
	if a.parked.listed {
		return
	}
	a.parked.listed = true
	k, _ := slices.BinarySearchFunc(l.waiting, a, func(x, y *app) int { return cmp.Compare(x.num, y.num) })
	l.waiting = slices.Insert(l.waiting, k, a)
}

// parking returns the apps with parked receipts, by number.
func (l *apps) parking() []*app {
	l.waiting = slices.DeleteFunc(l.waiting, func(a *app) bool {
		a.parked.listed = a.parked.count > 0
		return !a.parked.listed
	})
	return l.waiting
}

// configure puts settings in force.
func (l *apps) configure(a *app, s events.Settings, revision uint64) {
	a.configuration = &configuration{s, revision}
	l.configured.Store(a.key, a.configuration)
	a.groupValidity = s.GroupReceipts.Validity.Milliseconds()
	a.singleValidity = s.SingleReceipts.Validity.Milliseconds()
	a.maxReportAge = s.ReportAge().Milliseconds()
	l.alerting = l.alerting || len(s.Alerts) > 0
}

func (a *app) encode() ([]byte, error) {
	dst := binary.AppendUvarint(nil, uint64(a.num))
	dst = binary.AppendUvarint(dst, a.revision)
	s, err := json.Marshal(a.settings)
	if err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	return append(dst, s...), nil
}

func (p *Partition) loadApps() error {
	l := &p.apps
	err := p.back.Scan([]byte{tableApp}, func(key, value []byte) error {
		r := reader{b: value}
		a := newApp(uint32(r.uvarint()), string(key[1:]))
		revision := r.uvarint()
		var s events.Settings
		if r.bad || json.Unmarshal(r.b, &s) != nil {
			return errCorrupt
		}
		l.configure(a, s, revision)
		l.byKey[a.key] = a
		return nil
	})
	if err != nil {
		return err
	}
	l.byNum = make([]*app, len(l.byKey))
	for _, a := range l.byKey {
		if int(a.num) >= len(l.byNum) || l.byNum[a.num] != nil {
			return errCorrupt
		}
		l.byNum[a.num] = a
	}
	return p.loadLabels()
}

// Settings returns the settings in force and their revision; ok is false for an app that was never
// configured. It does not wait for the entry that is being applied.
func (p *Partition) Settings(appKey string) (s events.Settings, revision uint64, ok bool) {
	v, ok := p.apps.configured.Load(appKey)
	if !ok {
		return s, 0, false
	}
	c := v.(*configuration)
	return c.settings, c.revision, true
}

// Apps returns the keys and revisions of all apps.
func (p *Partition) Apps() map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := make(map[string]uint64, len(p.apps.byKey))
	for k, a := range p.apps.byKey {
		m[k] = a.revision
	}
	return m
}
