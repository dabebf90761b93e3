package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/receiptd/receiptd/events"
)

// Config says what the traffic is like. Fractions are from 0 to 1. Nothing is defaulted: a zero
// field means zero; see [DefaultConfig].
type Config struct {
	// Seed makes the traffic reproducible: the same configuration gives the same events.
	Seed uint64
	// Apps is the number of apps the groups are spread over, at least 1.
	Apps int
	// Groups is the number of groups, of all apps together, at least 1.
	Groups int
	// Members is the mean number of members of a group, at least 2. Few groups are large and
	// many are small: a tenth of the groups have about half of the members. No group has more
	// than 4000.
	Members int
	// Duplicates is the fraction of all receipts that repeat an earlier one, at most 0.9.
	Duplicates float64
	// EarlyReads is the fraction of group reads that come before their message.
	EarlyReads float64
	// Churn is how many members leave or join for each group message, at most 1.
	Churn float64
	// SingleChats is the fraction of messages that are sent in single chats.
	SingleChats float64
	// Absent is the fraction of members who do not read a message, on average; some messages
	// are read by all.
	Absent float64
}

// DefaultConfig is the traffic of the benchmark: 100 groups of 50 members on average, 10 %
// duplicates.
func DefaultConfig() Config {
	return Config{
		Seed:        1,
		Apps:        1,
		Groups:      100,
		Members:     50,
		Duplicates:  0.1,
		EarlyReads:  0.02,
		Churn:       0.05,
		SingleChats: 0.1,
		Absent:      0.1,
	}
}

// Validate says which field is out of range.
func (c *Config) Validate() error {
	for _, f := range []struct {
		name   string
		value  float64
		lo, hi float64
	}{
		{"Apps", float64(c.Apps), 1, 1000},
		{"Groups", float64(c.Groups), 1, 1e6},
		{"Members", float64(c.Members), 2, maxGroupSize},
		{"Duplicates", c.Duplicates, 0, 0.9},
		{"EarlyReads", c.EarlyReads, 0, 1},
		{"Churn", c.Churn, 0, 1},
		{"SingleChats", c.SingleChats, 0, 1},
		{"Absent", c.Absent, 0, 1},
	} {
		if !(f.value >= f.lo && f.value <= f.hi) {
			return fmt.Errorf("sim: %s is %v, not from %v to %v", f.name, f.value, f.lo, f.hi)
		}
	}
	return nil
}

// Traffic is the plan of the traffic: who is in which conversation. Its generators do not change
// it.
type Traffic struct {
	config Config
	apps   []string
	groups []place
	chats  []place
}

// place is a conversation and everyone who may ever be in it. The first present of a group's users
// are its members at first; the others join later. A single chat has no group id and two users.
type place struct {
	app, group string
	users      []string
	present    int
}

const (
	maxGroupSize  = 4000
	firstGroupID  = 182_480_000_000_001
	groupsPerUser = 5 // about
)

// New plans the traffic of a valid configuration.
func New(config Config) (*Traffic, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	t := &Traffic{config: config}
	for i := range config.Apps {
		t.apps = append(t.apps, events.AppKey("bench", "app"+strconv.Itoa(i+1)))
	}
	sizes := groupSizes(config.Groups, config.Members)
	largest := sizes[len(sizes)-1]
	users := make([]string, max(config.Groups*config.Members/groupsPerUser, 2*config.Groups, 3*largest))
	for i := range users {
		users[i] = fmt.Sprintf("user%07d", i+1)
	}
	random := rand.New(rand.NewPCG(config.Seed, 0))
	random.Shuffle(len(sizes), func(i, j int) { sizes[i], sizes[j] = sizes[j], sizes[i] })
	for i, size := range sizes {
		t.groups = append(t.groups, place{
			app:     t.apps[i%len(t.apps)],
			group:   strconv.FormatInt(firstGroupID+int64(i)<<20+random.Int64N(1<<20), 10),
			users:   sample(random, users, size+1+size/10),
			present: size,
		})
	}
	for i := range len(users) / 2 {
		t.chats = append(t.chats, place{
			app:     t.apps[i%len(t.apps)],
			users:   users[2*i : 2*i+2],
			present: 2,
		})
	}
	return t, nil
}

// groupSizes returns n sizes with about the given mean, smallest first: the quantiles of a
// log-normal distribution.
func groupSizes(n, mean int) []int {
	const sigma = 1.2
	raw := make([]float64, n)
	sum := 0.0
	for i := range raw {
		raw[i] = math.Exp(sigma * math.Sqrt2 * math.Erfinv(2*(float64(i)+0.5)/float64(n)-1))
		sum += raw[i]
	}
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = min(max(2, int(math.Round(raw[i]*float64(mean*n)/sum))), maxGroupSize)
	}
	return sizes
}

// sample returns n different users, at most half of all.
func sample(random *rand.Rand, users []string, n int) []string {
	taken := make(map[int]bool, n)
	picked := make([]string, 0, n)
	for len(picked) < n {
		if i := random.IntN(len(users)); !taken[i] {
			taken[i] = true
			picked = append(picked, users[i])
		}
	}
	return picked
}

// Apps are the keys of the apps, to be configured with [Traffic.Settings] before [Traffic.Setup].
func (t *Traffic) Apps() []string { return t.apps }

// Settings are the ones that the expected counts hold for: everything on, no limit.
func (t *Traffic) Settings() events.Settings {
	s := events.DefaultSettings()
	s.GroupReceipts.Enabled = true
	s.GroupReceipts.MaxGroupSize = 0
	return s
}

// Setup are the events that create the groups; they come before any event of a generator.
func (t *Traffic) Setup() []events.Event {
	evs := make([]events.Event, len(t.groups))
	for i, g := range t.groups {
		members := g.users[:g.present]
		evs[i] = events.Event{
			App: g.app, Kind: events.GroupCreated, Group: g.group,
			User: members[0], Members: members[1:], Admins: members[1 : 1+len(members)/20],
		}
	}
	return evs
}

// Generators shares the conversations among n generators, which may run at the same time. There are
// at most as many as groups, and at most 1024.
func (t *Traffic) Generators(n int) ([]*Generator, error) {
	if n < 1 || n > len(t.groups) || n > maxGenerators {
		return nil, fmt.Errorf("sim: %d generators for %d groups", n, len(t.groups))
	}
	generators := make([]*Generator, n)
	for i := range generators {
		generators[i] = newGenerator(t, i, n)
	}
	return generators, nil
}
