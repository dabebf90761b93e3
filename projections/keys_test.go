package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// allTables are the tags of every table, each once.
var allTables = func() (tags []byte) {
	for tag, t := range tables {
		if t != (table{}) {
			tags = append(tags, byte(tag))
		}
	}
	return tags
}()

// declaredTables are the constants of the package that are tags of tables, by name.
func declaredTables(t *testing.T) map[string]byte {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]byte{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "table") || len(v.Values) != 1 {
			return true
		}
		if c, ok := v.Values[0].(*ast.BasicLit); ok && c.Kind == token.CHAR {
			text, err := strconv.Unquote(c.Value)
			if err != nil {
				t.Fatal(err)
			}
			declared[v.Names[0].Name] = text[0]
		}
		return true
	})
	return declared
}

// A table that has no line among the others is unknown to operators, to what checks the keys, and
// to what follows here.
func TestEveryTableHasALine(t *testing.T) {
	declared := declaredTables(t)
	for name, tag := range declared {
		if tables[tag].name == "" {
			t.Errorf("%s has no line in tables", name)
		}
	}
	if len(declared) != len(allTables) {
		t.Errorf("%d tags are declared, %d are in tables", len(declared), len(allTables))
	}
}

// A new table says what a repartition does to it: left out, it would be in both halves.
func TestEveryTableSaysWhatASplitDoesToIt(t *testing.T) {
	s := splitter{p: &Partition{share: share{partitions: 2}}}
	for _, tag := range allTables {
		if _, err := s.stays([]byte{tag}, nil); errors.Is(err, errUndecided) {
			t.Errorf("table %c, %s: %v", tag, tables[tag].name, err)
		}
	}
	if _, err := s.stays([]byte("?"), nil); !errors.Is(err, errUndecided) {
		t.Errorf("a table that there is not: %v", err)
	}
}

// id draws what may be an id: no control characters, so no zero byte.
func id() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom([]rune("ab~é\U0001f600")), 1, 6, 24)
}

// someKey draws a key, and the fields it was made of.
func someKey(t *rapid.T) (key []byte, fields []any) {
	app := rapid.Uint32Max(300).Draw(t, "app")
	num := rapid.OneOf(rapid.Uint64Max(300), rapid.Uint64()).Draw(t, "num")
	small := rapid.Uint32Max(300).Draw(t, "small")
	a, b := id().Draw(t, "a"), id().Draw(t, "b")
	index := rapid.IntRange(0, 300).Draw(t, "index")
	tag := rapid.SampledFrom(allTables).Draw(t, "table")
	switch tag {
	case tableMeta, tableClock:
		return []byte{tag}, []any{tag}
	case tableEventID:
		return eventIDKey(nil, index), []any{tag, index}
	case tableApp:
		return appKey(nil, a), []any{tag, a}
	case tableLabel:
		return labelKey(nil, app, uint16(index)), []any{tag, app, uint16(index)}
	case tableConvByName:
		n := convName{group: a}
		if rapid.Bool().Draw(t, "single") {
			n = convName{a: a, b: b}
		}
		return convNameKey(nil, app, n), []any{tag, app, n}
	case tableConversation:
		return convKey(nil, num), []any{tag, num}
	case tableMember:
		return memberKey(nil, num, small), []any{tag, num, small}
	case tableUserIndex:
		return userIndexKey(nil, app, a, num), []any{tag, app, a, num}
	case tableMessage:
		return messageKey(nil, app, a, num), []any{tag, app, a, num}
	case tableUnreadSingle:
		return unreadKey(nil, num, uint64(small)), []any{tag, num, small}
	case tableListed:
		return listedKey(nil, num, uint64(small)), []any{tag, num, small}
	case tableItems:
		return itemsKey(nil, app, a, num), []any{tag, app, a, num}
	case tableSummary:
		return summaryKey(nil, app, a, num), []any{tag, app, a, num}
	case tableAuthor:
		return authorKey(nil, app, a), []any{tag, app, a}
	case tableUser:
		return userKey(nil, app, a), []any{tag, app, a}
	case tableParked:
		return parkedKey(nil, app, num, index), []any{tag, app, num, index}
	case tableCohort:
		x := cohort{cohortKey: cohortKey{app: app, hour: int64(num), conv: uint64(index) + 1, sender: small, label: uint16(index % 3)}}
		return x.key(nil), []any{tag, x.cohortKey}
	case tableHour:
		x := cohort{kind: HourTotal, cohortKey: cohortKey{app: app, hour: int64(num)}}
		return x.key(nil), []any{tag, x.cohortKey}
	case tableGroupDay:
		x := cohort{kind: GroupDay, cohortKey: cohortKey{app: app, hour: int64(num), conv: uint64(index) + 1}, group: a}
		return x.key(nil), []any{tag, x.dayKey()}
	case tableSenderDay:
		x := cohort{kind: SenderDay, cohortKey: cohortKey{app: app, hour: int64(num)}, user: a}
		return x.key(nil), []any{tag, x.dayKey()}
	case tableRejection:
		return rejectionKey(nil, app, index), []any{tag, app, index}
	case tableAlert:
		return alertKey(nil, app, byte(index%2), index), []any{tag, app, index}
	case tableTree:
		if rapid.Bool().Draw(t, "size") {
			return treeKey(nil), []any{tag}
		}
		return tileKey(nil, index%8, num), []any{tag, index % 8, num}
	}
	return poisonKey(nil, num), []any{tag, num}
}

func TestDifferentFieldsMakeDifferentKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, of := someKey(t)
		y, other := someKey(t)
		if same := slices.Equal(of, other); bytes.Equal(x, y) != same {
			t.Fatalf("%v and %v make %q and %q", of, other, x, y)
		}
	})
}

// A scan of what belongs to one object must not meet what belongs to another whose name is longer.
func TestPrefixesOfOneObjectFitNoOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		app, other := rapid.Uint32Max(70_000).Draw(t, "app"), rapid.Uint32Max(70_000).Draw(t, "other app")
		num, otherNum := rapid.Uint64Max(70_000).Draw(t, "num"), rapid.Uint64Max(70_000).Draw(t, "other num")
		a, b := id().Draw(t, "id"), id().Draw(t, "other id")
		for name, c := range map[string]struct {
			prefix, key []byte
			same        bool
		}{
			"member":  {memberPrefix(nil, num), memberKey(nil, otherNum, 7), num == otherNum},
			"unread":  {unreadPrefix(nil, num), unreadKey(nil, otherNum, 7), num == otherNum},
			"user":    {userIndexPrefix(nil, app, a), userIndexKey(nil, other, b, 7), app == other && a == b},
			"message": {messagePrefix(nil, app, a), messageKey(nil, other, b, 7), app == other && a == b},
			"summary": {summaryPrefix(nil, app, a), summaryKey(nil, other, b, 7), app == other && a == b},
			"items":   {itemsPrefix(nil, app, a), itemsKey(nil, other, b, 7), app == other && a == b},
			"parked": {
				binary.AppendUvarint([]byte{tableParked}, uint64(app)), parkedKey(nil, other, 7, 7), app == other,
			},
			"cohort": {
				hourKey(nil, tableCohort, app, int64(num)), (&cohort{cohortKey: cohortKey{app: other, hour: int64(otherNum), conv: 7, sender: 7}}).key(nil),
				app == other && num == otherNum,
			},
			"alert": {
				binary.AppendUvarint([]byte{tableAlert}, uint64(app)), alertKey(nil, other, 1, 7), app == other,
			},
			"rejection": {
				binary.AppendUvarint([]byte{tableRejection}, uint64(app)), rejectionKey(nil, other, 7), app == other,
			},
		} {
			if bytes.HasPrefix(c.key, c.prefix) != c.same {
				t.Fatalf("%s: prefix %q, key %q", name, c.prefix, c.key)
			}
		}
	})
}

// A scan returns a list in the order in which it grew.
func TestScansGiveListsInTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := rapid.Uint64().Draw(t, "x"), rapid.Uint64().Draw(t, "y")
		i, j := rapid.IntRange(0, 9000).Draw(t, "i"), rapid.IntRange(0, 9000).Draw(t, "j")
		sign := func(a, b uint64) int {
			return bytes.Compare(binary.BigEndian.AppendUint64(nil, a), binary.BigEndian.AppendUint64(nil, b))
		}
		for name, got := range map[string]int{
			"unread":  bytes.Compare(unreadKey(nil, 3, x), unreadKey(nil, 3, y)),
			"listed":  bytes.Compare(listedKey(nil, 3, x), listedKey(nil, 3, y)),
			"summary": bytes.Compare(summaryKey(nil, 3, "u", x), summaryKey(nil, 3, "u", y)),
			"items":   bytes.Compare(itemsKey(nil, 3, "u", x), itemsKey(nil, 3, "u", y)),
			"poison":  bytes.Compare(poisonKey(nil, x), poisonKey(nil, y)),
			"parked":  bytes.Compare(parkedKey(nil, 3, x, 0), parkedKey(nil, 3, y, 0)),
		} {
			if got != sign(x, y) {
				t.Fatalf("%s: %d and %d are in order %d", name, x, y, got)
			}
		}
		if got := bytes.Compare(parkedKey(nil, 3, x, i), parkedKey(nil, 3, x, j)); got != sign(uint64(i), uint64(j)) {
			t.Fatalf("parked: indexes %d and %d are in order %d", i, j, got)
		}
		if got := bytes.Compare(rejectionKey(nil, 3, i), rejectionKey(nil, 3, j)); got != sign(uint64(i), uint64(j)) {
			t.Fatalf("rejections: slots %d and %d are in order %d", i, j, got)
		}
	})
}

func TestEveryTableHasANameForOperators(t *testing.T) {
	seen := map[string]byte{}
	for _, tag := range allTables {
		name, _, _ := strings.Cut(DescribeKey([]byte{tag, 'x'}), ` "`)
		if other, dup := seen[name]; dup || strings.Contains(name, "unknown") {
			t.Errorf("table %c is called %q, as %c is", tag, name, other)
		}
		seen[name] = tag
	}
	if got := DescribeKey([]byte("?x")); !strings.Contains(got, "unknown") {
		t.Errorf("an unknown table is called %q", got)
	}
	if got := DescribeKey(nil); got != "empty key" {
		t.Errorf("an empty key is called %q", got)
	}
}

// What a rebuild adopts projection by projection belongs to one of them; all of them depend on the
// rest.
func TestNoTableBelongsToTwoProjections(t *testing.T) {
	owner := map[byte]string{}
	for name := range strings.SplitSeq(ProjectionNames(), ", ") {
		tags, ok := ProjectionTables(name)
		if !ok || len(tags) == 0 {
			t.Errorf("projection %s has no tables", name)
		}
		for _, tag := range tags {
			if !slices.Contains(allTables, tag) || owner[tag] != "" {
				t.Errorf("table %c of %s is no table or belongs to %q too", tag, name, owner[tag])
			}
			owner[tag] = name
		}
	}
	for _, name := range []string{"none such", ""} {
		if _, ok := ProjectionTables(name); ok {
			t.Errorf("projection %q, which there is not, has tables", name)
		}
	}
}
