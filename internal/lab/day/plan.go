package day

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Options say what the day is like.
type Options struct {
	// Apps is how many apps there are, 1 to MaxApps, and Messages how many are sent in all of them,
	// 1 to MaxMessages.
	Apps, Messages int
	// Seed decides who sends what when. The groups and their members are the same for every seed,
	// so that a second day goes on with the groups of the first.
	Seed uint64
	// End is when the day ends; it has begun 24 hours before.
	End time.Time
}

// Bounds of a day. A message has some 25 events.
const (
	MaxApps     = 20
	MaxMessages = 100_000
)

// App is one of the apps.
type App struct {
	// Name is "org/app".
	Name string
	// Settings are what differs from the defaults, as the API takes it.
	Settings map[string]any
	// Hiding are users who hide their reads.
	Hiding []string

	people []*person
	places []*place
	weight []float64 // of the places, summed up
}

// person is a user with habits.
type person struct {
	name string
	// reads is how likely they read a message at all, after how many seconds half of the time.
	reads, after float64
}

// place is a group or, without a name, a single chat.
type place struct {
	app    *App
	group  string
	people []*person // of a group the owner first
	admins int       // who follow the owner
}

// sent is a message.
type sent struct {
	at       int64
	place    *place
	by       *person
	id       string
	receipt  bool
	label    string // the campaign that it is part of, if any
	readers  int
	recalled bool
}

// labels are the campaigns of the day.
var labels = []string{"spring-sale", "release-notes", "survey"}

// names are what people are called; a letter is added.
var names = []string{
	"ann", "ben", "cleo", "dan", "eve", "finn", "gina", "hugo", "ines", "jon", "kim", "lars", "mia", "noor", "omar",
	"pia", "quinn", "rosa", "sam", "tara", "uma", "vera", "wim", "xia", "yara", "zoe", "aldo", "bea", "carl", "dora",
}

// appNames are what the first apps are called, settings what is particular to them.
var appNames = []string{"chat", "support", "school"}

var settings = []map[string]any{
	{"group_receipts": map[string]any{"enabled": true}},
	{"group_receipts": map[string]any{"enabled": true, "visibility": "members"}, "unread_by": "message"},
	{"group_receipts": map[string]any{"enabled": true, "who_may_request": "admins"}},
}

// sizes are how many members an app's groups have. The largest is above the limit for receipts.
var sizes = []int{3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 34, 40, 50, 64, 80, 110, 150, 240}

const (
	peopleOfApp = 300
	chatsOfApp  = 80
	// ofChats is the part of the messages that is sent in single chats.
	ofChats = 0.2
)

// newApp makes the n-th app, which is the same in every plan.
func newApp(n int) *App {
	name := fmt.Sprintf("app%d", n+1)
	if n < len(appNames) {
		name = appNames[n]
	}
	a := &App{Name: "demo/" + name, Settings: settings[n%len(settings)]}
	random := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range peopleOfApp {
		p := &person{
			name:  fmt.Sprintf("%s-%c", names[i%len(names)], 'a'+rune(i/len(names))),
			reads: 0.6 + 0.38*random.Float64(),
			after: math.Exp(math.Log(8) + random.Float64()*math.Log(60)), // 8 s to 8 min
		}
		switch {
		case random.Float64() < 0.1: // looks at the chat now and then
			p.after = 3600 * (1 + 4*random.Float64())
		case random.Float64() < 0.05: // never does
			p.reads = 0
		case random.Float64() < 0.03:
			a.Hiding = append(a.Hiding, p.name)
		}
		a.people = append(a.people, p)
	}
	for i, size := range sizes {
		g := &place{app: a, group: fmt.Sprintf("%s-%d", kindOf(size), i+1), admins: size / 20}
		for _, k := range random.Perm(peopleOfApp)[:size] {
			g.people = append(g.people, a.people[k])
		}
		a.places = append(a.places, g)
	}
	for range chatsOfApp {
		pair := random.Perm(peopleOfApp)[:2]
		a.places = append(a.places, &place{app: a, people: []*person{a.people[pair[0]], a.people[pair[1]]}})
	}
	a.weigh()
	return a
}

func kindOf(size int) string {
	switch {
	case size < 7:
		return "family"
	case size < 25:
		return "team"
	case size < 100:
		return "class"
	case size < 200:
		return "club"
	}
	return "town"
}

// weigh has more sent in larger groups, but not in proportion.
func (a *App) weigh() {
	groups := 0.0
	for _, size := range sizes {
		groups += math.Pow(float64(size), 0.3)
	}
	total := 0.0
	for _, p := range a.places {
		w := math.Pow(float64(len(p.people)), 0.3) / groups * (1 - ofChats)
		if p.group == "" {
			w = ofChats / chatsOfApp
		}
		total += w
		a.weight = append(a.weight, total)
	}
}

// pick chooses a place for a message.
func (a *App) pick(random *rand.Rand) *place {
	i, _ := slices.BinarySearch(a.weight, random.Float64()*a.weight[len(a.weight)-1])
	return a.places[min(i, len(a.places)-1)]
}

// busy says how busy each hour of a day is.
var busy = [24]float64{1, .5, .3, .2, .3, 1, 3, 6, 10, 12, 12, 11, 13, 12, 11, 11, 10, 10, 9, 9, 8, 6, 4, 2}

const dayMillis = 24 * 60 * 60 * 1000

// moment is a time of the day that begins at a time, as likely as it is busy.
func moment(random *rand.Rand, begin int64) int64 {
	for {
		at := begin + random.Int64N(dayMillis)
		if random.Float64()*13 < busy[time.UnixMilli(at).UTC().Hour()] {
			return at
		}
	}
}

// messages are what is sent on the day, in order.
func messages(o Options, apps []*App, random *rand.Rand) []*sent {
	begin := o.End.UnixMilli() - dayMillis
	all := make([]*sent, 0, o.Messages)
	for len(all) < o.Messages {
		// The first app is the busiest.
		a := apps[int(float64(len(apps))*random.Float64()*random.Float64())]
		at, p := moment(random, begin), a.pick(random)
		for range min(burst(random), o.Messages-len(all)) {
			m := &sent{at: at, place: p, by: p.people[random.IntN(len(p.people))]}
			if random.IntN(5) == 0 {
				m.label = labels[random.IntN(len(labels))]
			}
			m.receipt = p.group != "" && random.Float64() < 0.8
			if a.Settings["group_receipts"].(map[string]any)["who_may_request"] == "admins" && m.receipt {
				m.by = p.people[random.IntN(1+p.admins)]
			}
			if at += 2000 + random.Int64N(40_000); at >= o.End.UnixMilli() {
				at = m.at
			}
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(x, y *sent) int { return int(x.at - y.at) })
	for i, m := range all {
		m.id = fmt.Sprintf("m%d-%05d", o.Seed, i+1)
	}
	return all
}

// burst is how many messages follow each other in a conversation.
func burst(random *rand.Rand) int {
	switch x := random.Float64(); {
	case x < 0.7:
		return 1
	case x < 0.95:
		return 2 + random.IntN(5)
	}
	return 7 + random.IntN(14)
}
