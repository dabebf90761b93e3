package projections

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// app is a tenant. All apps of a partition are in memory: only the admin makes them.
type app struct {
	num uint32
	key string
	*configuration

	// In milliseconds of the fold's clock, 0 = no limit.
	groupValidity, singleValidity int64

	convs    map[convName]*conversation // the cached ones
	authors  map[string]*author         // the cached ones
	parked   parkingLot
	rejected rejectionRing
}

// configuration are settings that are or were in force. It does not change.
type configuration struct {
	settings events.Settings
	revision uint64
}

func newApp(num uint32, key string) *app {
	return &app{num: num, key: key, configuration: new(configuration), convs: map[convName]*conversation{}, authors: map[string]*author{}, parked: newParkingLot()}
}

// use puts settings in force.
func (p *Partition) use(a *app, s events.Settings, revision uint64) {
	a.configuration = &configuration{s, revision}
	p.configured.Store(a.key, a.configuration)
	a.groupValidity = s.GroupReceipts.Validity.Milliseconds()
	a.singleValidity = s.SingleReceipts.Validity.Milliseconds()
}

// configure puts settings in force that are newer than those the app has.
func (p *Partition) configure(i int) (events.Outcome, error) {
	x := p.entry.extra(i)
	if x.Settings == nil {
		return 0, fmt.Errorf("app.configured without settings")
	}
	key := p.entry.b.Conversations[p.entry.b.Conv[i]].App
	a := p.apps[key]
	if a == nil {
		if x.Revision == 0 {
			return events.OutcomeDuplicate, nil
		}
		a = newApp(uint32(len(p.appsByNum)), strings.Clone(key))
		p.apps[a.key] = a
		p.appsByNum = append(p.appsByNum, a)
	}
	if x.Revision <= a.revision {
		return events.OutcomeDuplicate, nil
	}
	s := *x.Settings
	s.GroupReceipts.WhoMayRequest = strings.Clone(s.GroupReceipts.WhoMayRequest)
	s.GroupReceipts.Visibility = strings.Clone(s.GroupReceipts.Visibility)
	p.use(a, s, x.Revision)
	v, err := a.encode()
	if err != nil {
		return 0, err
	}
	p.put(appKey(p.key(), a.key), v)
	return events.OutcomeApplied, nil
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

// load reads the tables that are always in memory.
func (p *Partition) load() error {
	v, err := p.back.Get(append(p.key(), tableMeta))
	if err != nil {
		return err
	}
	if err := p.decodeMeta(v); err != nil {
		return err
	}
	if err := p.loadApps(); err != nil {
		return err
	}
	for _, a := range p.appsByNum {
		if err := p.loadParked(a); err != nil {
			return err
		}
		if err := p.loadRejections(a); err != nil {
			return err
		}
	}
	return p.loadPoison()
}

func (p *Partition) loadApps() error {
	err := p.back.Scan([]byte{tableApp}, func(key, value []byte) error {
		r := reader{b: value}
		a := newApp(uint32(r.uvarint()), string(key[1:]))
		revision := r.uvarint()
		var s events.Settings
		if r.bad || json.Unmarshal(r.b, &s) != nil {
			return errCorrupt
		}
		p.use(a, s, revision)
		p.apps[a.key] = a
		return nil
	})
	if err != nil {
		return err
	}
	p.appsByNum = make([]*app, len(p.apps))
	for _, a := range p.apps {
		if int(a.num) >= len(p.appsByNum) || p.appsByNum[a.num] != nil {
			return errCorrupt
		}
		p.appsByNum[a.num] = a
	}
	return nil
}
