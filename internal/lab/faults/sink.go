package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/receiptd/receiptd/internal/lab/chserver"
	"github.com/receiptd/receiptd/projections/store"
)

// sinkDatabase is the one that the server fills.
const sinkDatabase = "receiptd"

// tablesOf is where a template keeps the tables of ClickHouse that go with a data directory of its.
func tablesOf(data string) string { return data + ".tables" }

// fill starts a ClickHouse on a directory and has the server fill it, and make snapshots: whatever
// it keeps is there to be damaged.
func (s *server) fill(tables string) error {
	s.sink = chserver.NewProcess(tables, "127.0.0.1:0")
	if err := s.sink.Start(); err != nil {
		return fmt.Errorf("start ClickHouse: %w", err)
	}
	s.args = append(s.args, "--clickhouse="+s.sink.DSN(sinkDatabase), "--snapshot-every=1h")
	return nil
}

// damaged returns a server on a copy of data that harm was done to, with a ClickHouse on a copy of
// its tables. The caller must kill the ClickHouse.
func (t *trial) damaged(from string, harm func(data string) error) (*server, error) {
	data, tables := filepath.Join(t.dir, "data"), filepath.Join(t.dir, "tables")
	if err := errors.Join(clone(data, from), clone(tables, tablesOf(from))); err != nil {
		return nil, err
	}
	if err := harm(data); err != nil {
		return nil, err
	}
	s := t.newServer(data)
	return s, s.fill(tables)
}

// keepTables copies the tables as a kill -9 of ClickHouse leaves them.
func (s *server) keepTables(from, to string) error {
	s.sink.Kill()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return s.sink.Start()
}

// sinkRounds is how often the sink is given time to keep its state.
const sinkRounds = 5

// keepSinkState lets the server run until the sink has kept its state after an entry of every
// partition, and stops it.
func (s *server) keepSinkState(ctx context.Context, after map[int]uint64) (at map[int]uint64, err error) {
	for range sinkRounds {
		time.Sleep(17 * time.Second) // the sink keeps its state every 15 s
		if err := s.stop(); err != nil {
			return nil, err
		}
		at, kept := map[int]uint64{}, true
		for k := range partitions {
			list, err := filepath.Glob(filepath.Join(s.data, fmt.Sprintf("analytics/p%03d/0*", k)))
			if err != nil || len(list) != 1 {
				return nil, fmt.Errorf("states of the sink: %v, %w", list, err)
			}
			if at[k], _, err = store.Position(list[0]); err != nil {
				return nil, err
			}
			kept = kept && at[k] > after[k]
		}
		if kept {
			return at, nil
		}
		if err := s.start(ctx); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the sink does not keep its state")
}

// interrupt kills the server while an insert is under way, which ClickHouse does not finish. send
// is what has it insert something; what it sends once more is in no checkpoint that is durable yet.
func (s *server) interrupt(send func() error) error {
	notes := func() string {
		var text []byte
		for k := range partitions {
			note, _ := os.ReadFile(filepath.Join(s.data, fmt.Sprintf("analytics/p%03d/INTENT", k)))
			text = append(text, note...) // none, before the first insert
		}
		return string(text)
	}
	for begun, try := false, 0; !begun; try++ {
		if try == sinkRounds {
			return errors.New("no insert begins")
		}
		if err := s.sink.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		before := notes()
		if err := send(); err != nil {
			return err
		}
		if begun = within(10, func() bool { return notes() != before }); !begun {
			// It was in the middle of something else: once more, when that is done.
			if err := s.sink.Signal(syscall.SIGCONT); err != nil {
				return err
			}
			time.Sleep(3 * time.Second)
		}
	}
	if err := send(); err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond) // the insert follows its note
	return s.kill()
}

// errDoubled: rows are in ClickHouse more than once, which nothing heals.
var errDoubled = errors.New("DOUBLED in ClickHouse")

// sinkPatience is how long ClickHouse may take to have all of the log: the sink waits for a minute
// where it does not know what is under way.
const sinkPatience = 2 * 60 * time.Second

// filled waits until ClickHouse has everything that the log has, once, and counts what the books
// say.
func (o *oracle) filled(ctx context.Context, s *server) error {
	if s.sink == nil {
		return nil
	}
	for deadline := time.Now().Add(sinkPatience); ; time.Sleep(200 * time.Millisecond) {
		err := o.compareSink(ctx, s)
		switch {
		case err == nil, errors.Is(err, errDoubled), ctx.Err() != nil:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("WRONG in ClickHouse: %w: %s", err, s.lastWords())
		}
	}
}

// compareSink compares what ClickHouse has now.
func (o *oracle) compareSink(ctx context.Context, s *server) error {
	for _, compare := range []func(context.Context, *server) error{o.once, o.complete, o.sameCounts, sameTotals} {
		if err := compare(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// once checks that no row of the log is in ClickHouse twice.
func (o *oracle) once(ctx context.Context, s *server) error {
	if s.sink == nil {
		return nil
	}
	rows, err := s.sql(ctx, "SELECT count() - uniqExact(partition, sequence, `index`, fact) FROM events FORMAT TSV")
	if err == nil && rows[0][0] != "0" {
		err = fmt.Errorf("%w: %s rows", errDoubled, rows[0][0])
	}
	return err
}

// complete checks that every entry of the log is there.
func (o *oracle) complete(ctx context.Context, s *server) error {
	var status struct {
		Partitions []struct{ Stored uint64 }
	}
	if err := s.call(ctx, "GET", "/v1/status", nil, &status); err != nil {
		return err
	}
	rows, err := s.sql(ctx, "SELECT toString(partition), uniqExact(sequence), max(sequence) FROM events GROUP BY partition FORMAT TSV")
	if err != nil {
		return err
	}
	for k, p := range status.Partitions {
		end := strconv.FormatUint(p.Stored, 10)
		if p.Stored > 0 && !slices.ContainsFunc(rows, func(row []string) bool { return slices.Equal(row, []string{strconv.Itoa(k), end, end}) }) {
			return fmt.Errorf("partition %d has %s entries; ClickHouse (partition, entries, last): %v", k, end, rows)
		}
	}
	return nil
}

// sameCounts compares the readers of every message with the books.
func (o *oracle) sameCounts(ctx context.Context, s *server) error {
	rows, err := s.sql(ctx, "SELECT m.id, m.read, m.recalled, r.times, r.readers FROM (SELECT * FROM messages FINAL WHERE app = '"+o.app+"') AS m "+
		"LEFT JOIN (SELECT message, count() AS times, uniqExact(reader) AS readers FROM reads WHERE app = '"+o.app+"' GROUP BY message) AS r ON r.message = m.id FORMAT TSV")
	if err != nil {
		return err
	}
	if len(rows) != len(o.readers) {
		return fmt.Errorf("%d messages, want %d", len(rows), len(o.readers))
	}
	for _, row := range rows {
		want := strconv.Itoa(len(o.readers[row[0]]))
		if row[1] != want || row[2] == "false" && (row[3] != want || row[4] != want) {
			return fmt.Errorf("message, readers, recalled, its reads, their readers: %v, want %s readers", row, want)
		}
	}
	return nil
}

// sameTotals compares the tables of totals with each other and with the messages.
func sameTotals(ctx context.Context, s *server) error {
	const sums = "sum(messages), sum(eligible), sum(delivered), sum(read), sum(recalled), sum(arraySum(counts))"
	rows, err := s.sql(ctx, "SELECT * FROM (SELECT 0 AS of, "+sums+" FROM cohorts FINAL UNION ALL SELECT 1, "+sums+" FROM hours FINAL "+
		"UNION ALL SELECT 2, "+sums+" FROM sender_days FINAL) ORDER BY of FORMAT TSV")
	if err != nil {
		return err
	}
	groups, err := s.sql(ctx, "SELECT * FROM (SELECT 0 AS of, "+sums+" FROM cohorts FINAL WHERE `group` != '' UNION ALL SELECT 1, "+sums+" FROM group_days FINAL) ORDER BY of FORMAT TSV")
	if err != nil {
		return err
	}
	read, err := s.sql(ctx, "SELECT sum(read) FROM messages FINAL WHERE NOT recalled FORMAT TSV")
	if err != nil {
		return err
	}
	for _, same := range [][2][]string{{rows[0][1:], rows[1][1:]}, {rows[0][1:], rows[2][1:]}, {groups[0][1:], groups[1][1:]}, {rows[0][4:5], read[0]}} {
		if !slices.Equal(same[0], same[1]) {
			return fmt.Errorf("totals of cohorts, hours, senders' days: %v; of groups' cohorts, and days: %v; %v reads of messages", rows, groups, read)
		}
	}
	return nil
}

// sql asks ClickHouse, past the server.
func (s *server) sql(ctx context.Context, query string) (rows [][]string, err error) {
	at := strings.Replace(s.sink.DSN(sinkDatabase), "/"+sinkDatabase, "/?database="+sinkDatabase, 1)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(query))
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return nil, errors.Join(err, fmt.Errorf("ClickHouse answers %d: %.300s", answer.StatusCode, text))
	}
	for line := range strings.Lines(string(text)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, nil
}
