package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/chtest"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// examine is Examine, and the codes of what it finds that are not about this machine.
func examine(t *testing.T, cfg config.Config) (x Examination, codes []string) {
	t.Helper()
	x, err := Examine(testContext(t), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range x.Findings {
		if f.Do == "" || f.What == "" {
			t.Errorf("%s does not say what it is or what to do: %+v", f.Code, f)
		}
		if !slices.Contains([]string{foundDisk, foundClock, foundFiles, foundMemory}, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	return x, codes
}

// A stopped server's data is compared with what ClickHouse has of it, which it is not before it
// answers, nor after another log has filled it.
func TestDoctorComparesClickHouseWithTheLog(t *testing.T) {
	ch := chtest.Start(t)
	cfg := testConfig(t)
	cfg.Analytics.ClickHouse = config.DSN(ch.DSN("receiptd"))
	live := func(groups ...string) {
		r := start(t, cfg)
		r.append(configured(1, limit(10)))
		for _, id := range groups {
			r.append(group(id, 5)...)
		}
		r.caughtUp()
		eventually(t, "ClickHouse has all", func() bool {
			for k, s := range r.analytics.Stats() {
				if _, last, err := r.Log.Bounds(testContext(t), k); err != nil || s.Stored < last {
					return false
				}
			}
			return true
		})
		r.stop()
	}
	empty := cfg
	empty.Analytics.ClickHouse = config.DSN(ch.DSN("never"))
	live("g", "h")
	x, codes := examine(t, cfg)
	if len(codes) > 0 || x.ClickHouse == nil || x.ClickHouse.Version == "" || len(x.ClickHouse.Partitions) != partitions {
		t.Fatalf("%v, %+v", codes, x.ClickHouse)
	}
	stored := uint64(0)
	for _, p := range x.ClickHouse.Partitions {
		if stored += p.Last; p.Last != p.Log {
			t.Errorf("partition %d: ClickHouse stands at %d of %d", p.Partition, p.Last, p.Log)
		}
	}
	if stored == 0 {
		t.Error("ClickHouse has nothing")
	}
	if x, codes := examine(t, empty); len(codes) > 0 || x.ClickHouse == nil || x.ClickHouse.Filled || x.ClickHouse.Pending == 0 {
		t.Errorf("a database that is not there: %v, %+v", codes, x.ClickHouse)
	}
	if x, codes = examine(t, empty); x.ClickHouse.Pending == 0 {
		t.Errorf("to look made tables: %v", codes)
	}
	notes, err := filepath.Glob(filepath.Join(cfg.Data, analyticsDir, "p*", "INTENT"))
	if err != nil || len(notes) == 0 {
		t.Fatal(notes, err)
	}
	note := notes[0]
	for what, harm := range map[string]func() error{
		"damaged": func() error { return os.WriteFile(note, []byte("damaged"), 0o600) },
		"missing": func() error { return os.RemoveAll(note) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		if x, codes := examine(t, cfg); !x.Healthy || !slices.Equal(codes, []string{foundSinkNote}) {
			t.Errorf("the note of an insert is %s: healthy %v, %v", what, x.Healthy, codes)
		}
	}
	other := cfg
	other.Data, other.Analytics.ClickHouse = t.TempDir(), ""
	filled := cfg.Analytics.ClickHouse
	cfg = other
	r := start(t, cfg)
	r.append(group("k", 1)...)
	r.append(group("l", 1)...)
	r.caughtUp()
	r.stop()
	cfg.Analytics.ClickHouse = filled
	if x, codes := examine(t, cfg); x.Healthy || !slices.Contains(codes, foundSinkOther) {
		t.Errorf("another log: healthy %v, %v", x.Healthy, codes)
	}
	ch.Kill()
	if x, codes := examine(t, cfg); !x.Healthy || !slices.Equal(codes, []string{foundSinkAway}) {
		t.Errorf("without ClickHouse: healthy %v, %v", x.Healthy, codes)
	}
}

func TestWhereClickHouseMayStand(t *testing.T) {
	for _, test := range []struct {
		first, top, stored uint64
		code               string
		from, to           uint64
	}{
		{1, 9, 10, foundSinkOther, 10, 10},
		{0, 0, 3, foundSinkOther, 1, 3},
		{5, 9, 3, foundSinkGap, 4, 4},
		{5, 9, 0, foundSinkGap, 1, 4},
		{5, 9, 4, "", 0, 0}, // it has all that left the log
		{1, 9, 0, "", 0, 0},
		{0, 0, 0, "", 0, 0},
	} {
		var x Examination
		log := &eventlog.StreamFiles{First: test.first, Top: test.top}
		if err := x.compareSink(t.Context(), log, clickhouse.Position{Sequence: test.stored}); err != nil {
			t.Error(err)
		}
		var got Finding
		if len(x.Findings) > 0 {
			got = x.Findings[0]
		}
		if got.Code != test.code || got.First != test.from || got.Last != test.to || got.Fatal != (test.code != "") {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

// The reserve of the server that is to be started counts, not that of one with no settings.
func TestDoctorGoesByTheConfiguration(t *testing.T) {
	cfg := testConfig(t)
	cfg.Log.MinFree = 1 << 50
	x, err := Examine(testContext(t), cfg, config.Problems{{Setting: "fsync", Reason: "is no word"}})
	has := func(code string) bool {
		return slices.ContainsFunc(x.Findings, func(f Finding) bool { return f.Code == code && f.Fatal })
	}
	if err != nil || x.Healthy || !has(foundDisk) || !has(foundConfig) {
		t.Errorf("%+v, %v", x.Findings, err)
	}
	cfg.Log.MinFree, cfg.Log.NATSUsers = 0, filepath.Join(cfg.Data, "users")
	if x, codes := examine(t, cfg); x.Healthy || !slices.Equal(codes, []string{foundNothing, foundConfig}) {
		t.Errorf("a file that is not there: %v", codes)
	}
	if err := os.WriteFile(cfg.Log.NATSUsers, []byte("acme#chat secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if x, codes := examine(t, cfg); !x.Healthy || !slices.Equal(codes, []string{foundNothing}) {
		t.Errorf("the file is there: %v", codes)
	}
}

func TestLimitsOfTheMachine(t *testing.T) {
	const mib = 1 << 20
	cfg := config.Default()
	busy := cfg
	busy.SDK.MaxConnections = 60_000
	for _, test := range []struct {
		what string
		find func(x *Examination)
		want string // empty for nothing
	}{
		{"files enough", func(x *Examination) { x.files(cfg, 20_000) }, ""},
		{"few files", func(x *Examination) { x.files(cfg, 1024) }, "1024 files may be open, 4096 are wanted"},
		{"files for the connections", func(x *Examination) { x.files(busy, 70_000) }, ""},
		{"few files for the connections", func(x *Examination) { x.files(busy, 60_000) }, "leaves room for"},
		{"memory enough", func(x *Examination) { x.memory(cfg, 2048*mib) }, ""},
		{"memory that nobody knows", func(x *Examination) { x.memory(cfg, 0) }, ""},
		{"little memory", func(x *Examination) { x.memory(cfg, 600*mib) }, "--cache-size 256MiB"},
		{"too little memory", func(x *Examination) { x.memory(cfg, 100*mib) }, "with the smallest one"},
	} {
		var x Examination
		test.find(&x)
		if got := len(x.Findings); got != min(1, len(test.want)) || got == 1 && !strings.Contains(x.Findings[0].What, test.want) {
			t.Errorf("%s: %+v", test.what, x.Findings)
		}
	}
}

// An operator looks a code up.
func TestEveryFindingIsExplained(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	for code := range remedies {
		if !strings.Contains(string(text), "`"+code+"`") {
			t.Errorf("docs/doctor.md does not have %s", code)
		}
	}
}
