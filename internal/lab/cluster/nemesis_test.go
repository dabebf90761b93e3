package cluster

import (
	"cmp"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// lab is a cluster under stress.
type lab struct {
	t       testing.TB
	net     *network
	client  *client
	nodes   []*machine
	brokers []*machine // none if the nodes have servers of their own
	longest time.Duration
	fired   map[string]int
	// spoilt are machines whose files were damaged: they may say so.
	spoilt map[*machine]bool
	// archive is the ClickHouse that the nodes fill; nil for none.
	archive *archive
	// handed is how often another node has come to fill it.
	handed int
	// copies is how many of the nodes fold each partition; 0 = all.
	copies int
	// began is called when a fault has begun that keeps a machine from answering.
	began func(kind string, m *machine)
}

// servers are the machines that the log lies on.
func (l *lab) servers() []*machine {
	if len(l.brokers) > 0 {
		return l.brokers
	}
	return l.nodes
}

func (l *lab) all() []*machine { return slices.Concat(l.nodes, l.brokers) }

// kind is a kind of fault. It begins and ends within run, which draws everything from r.
type kind struct {
	name string
	// lacks says what it takes that this lab does not have; empty for nothing.
	lacks func(l *lab) string
	run   func(l *lab, r *rand.Rand)
}

func nothing(*lab) string { return "" }

func ownNetwork(*lab) string {
	if inside {
		return ""
	}
	return "this machine lets nobody make a network and mounts of their own"
}

var kinds = []kind{
	{"kill", nothing, func(l *lab, r *rand.Rand) {
		m := pick(r, l.all())
		m.kill()
		l.note("kill", m)
		time.Sleep(l.lasts(r, time.Second)) // without it for a while
		m.start()
	}},
	{"stop", nothing, func(l *lab, r *rand.Rand) {
		m := pick(r, l.all())
		l.note("stop", m)
		m.stop()
		time.Sleep(l.lasts(r, time.Second)) // without it for a while
		m.start()
	}},
	{"pause", nothing, func(l *lab, r *rand.Rand) {
		m, d := pick(r, l.all()), l.lasts(r, l.longest)
		l.note("pause", m)
		m.pause(d)
	}},
	{"cut", ownNetwork, func(l *lab, r *rand.Rand) {
		m, d := pick(r, l.all()), l.lasts(r, l.longest)
		others := l.net.others(m.host)
		if r.IntN(2) == 0 { // from one of them only
			others = []*host{pick(r, others)}
		} else {
			l.note("cut", m)
		}
		l.net.isolate(m.host, others)
		time.Sleep(d) // the cut lasts
		l.net.heal()
	}},
	{"cut one way", ownNetwork, func(l *lab, r *rand.Rand) {
		m, d := pick(r, l.all()), l.lasts(r, l.longest)
		others := l.net.others(m.host)
		if r.IntN(2) == 0 {
			others = []*host{pick(r, others)}
		}
		hears := r.IntN(2) == 0
		for _, h := range others {
			if hears {
				l.net.cut(m.host, h)
			} else {
				l.net.cut(h, m.host)
			}
		}
		time.Sleep(d) // the cut lasts
		l.net.heal()
	}},
	{"most servers", nothing, func(l *lab, r *rand.Rand) {
		two := slices.Clone(l.servers())
		r.Shuffle(len(two), func(i, j int) { two[i], two[j] = two[j], two[i] })
		two = two[:2]
		for _, m := range two {
			m.kill()
		}
		time.Sleep(l.lasts(r, time.Second)) // without a majority for a while
		for _, m := range two {
			m.start()
		}
	}},
	{"full disk", ownNetwork, func(l *lab, r *rand.Rand) {
		m, d := pick(r, l.nodes), l.lasts(r, l.longest)
		if err := fill(m.data); err != nil {
			l.t.Error(err)
			return
		}
		l.note("full disk", m)
		m.supervise()
		time.Sleep(d) // it lasts
		if err := resize(m.data, dataBytes); err != nil {
			l.t.Error(err)
		}
	}},
	{"bit of a state", nothing, func(l *lab, r *rand.Rand) {
		m := pick(r, l.nodes)
		m.stop() // which writes all of the state
		l.flip(r, m, "/state/", ".sst")
		m.start()
	}},
	{"bit of a log", nothing, func(l *lab, r *rand.Rand) {
		m := pick(r, l.servers())
		if len(l.brokers) == 0 {
			l.flipReplica(r, m)
			return
		}
		m.kill()
		l.flip(r, m, "/streams/RECEIPTS_", ".blk")
		m.start()
	}},
	{clockFault, ownClocks, (*lab).wrongClock},
	{"sink", clickHouse, (*lab).movingSink},
	{"ClickHouse", clickHouse, (*lab).lostEngine},
	{"gone", fewer, (*lab).gone},
	{"drain", fewer, (*lab).drained},
	{"move", fewer, (*lab).moved},
	{"behind", fewer, (*lab).behind},
	{"deposed", ownBrokers, (*lab).deposed},
}

// kindOf is the kind of a name, which there has to be.
func kindOf(name string) kind {
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })]
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// lasts draws how long a fault is, from 0.3 s on.
func (l *lab) lasts(r *rand.Rand, longest time.Duration) time.Duration {
	return between(r, 300*time.Millisecond, longest)
}

// between draws a span; short ones are as likely as long ones.
func between(r *rand.Rand, least, longest time.Duration) time.Duration {
	longest = max(longest, least)
	return time.Duration(float64(least) * math.Pow(float64(longest)/float64(least), r.Float64()))
}

func (l *lab) note(kind string, m *machine) {
	l.t.Logf("%s: %s", kind, m.name)
	if l.began != nil {
		l.began(kind, m)
	}
}

// flip flips a bit in one of a machine's files, in place, as a disk does, and returns its path;
// empty if there is none. If the machine is running, it must do no more to such files than append.
func (l *lab) flip(r *rand.Rand, m *machine, part string, suffixes ...string) string {
	var files []string
	err := filepath.WalkDir(m.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && !d.IsDir() && slices.Contains(suffixes, filepath.Ext(path)) && strings.Contains(path, part) {
			if info, err := d.Info(); err == nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return nil
	})
	if err != nil || len(files) == 0 {
		l.t.Errorf("no file %v in %s (%v)", suffixes, m.data, err)
		return ""
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	path := pick(r, files)
	at, bit, err := flipIn(path, r)
	if err != nil {
		l.t.Error(err)
		return ""
	}
	l.spoilt[m] = true
	l.t.Logf("flip bit %d of byte %d in %s", bit, at, path)
	return path
}

// flipIn flips a bit of a file.
func flipIn(path string, r *rand.Rand) (at int64, bit int, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	at, bit = int64(r.Float64()*float64(info.Size())), r.IntN(8)
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, at); err == nil {
		b[0] ^= 1 << bit
		_, err = f.WriteAt(b, at)
	}
	return at, bit, err
}

// nemesis goes through a deck of faults again and again for a time, and once at least. What comes
// when, where and for how long follows from the seed. It waits after each fault until all is well.
func (l *lab) nemesis(seed uint64, deck []string, d time.Duration, well func()) {
	end := time.Now().Add(d)
	for round := uint64(0); ; {
		shuffle := rand.New(rand.NewPCG(seed, round))
		shuffle.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		for _, name := range deck {
			if round >= uint64(len(deck)) && time.Now().After(end) || l.t.Failed() {
				return
			}
			round++
			k := kindOf(name)
			if k.lacks(l) != "" {
				continue
			}
			r := rand.New(rand.NewPCG(seed, 1000+round))
			time.Sleep(l.lasts(r, time.Second))
			l.t.Logf("round %d: %s", round, name)
			k.run(l, r)
			l.fired[name]++
			began := time.Now()
			well()
			l.t.Logf("well after %v", time.Since(began).Round(time.Millisecond))
		}
	}
}
