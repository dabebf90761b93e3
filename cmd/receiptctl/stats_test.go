package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// pages is a server of read rates: each answer has as many rows as are listed here next, or as
// were asked for, and says that there are more.
type pages struct {
	rows  []int // -1: as many as were asked for; at the end of the list there are none
	asked []string
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limit, media := r.URL.Query().Get("limit"), r.Header.Get("Accept")
	p.asked = append(p.asked, media+" "+limit+" "+r.URL.Query().Get("cursor"))
	rows := 0
	if len(p.rows) > 0 {
		if rows, p.rows = p.rows[0], p.rows[1:]; rows < 0 {
			rows, _ = strconv.Atoi(limit)
		}
	}
	next := fmt.Sprint("c", len(p.asked))
	w.Header().Set("X-Total", "300000")
	w.Header().Set("X-Next-Cursor", next)
	if media == "text/csv" {
		fmt.Fprint(w, "key,messages\n")
	}
	line := fmt.Sprintf("a%d,1\n", len(p.asked))
	if media != "text/csv" && media != "application/x-ndjson" {
		line = `,{"key":"a","messages":1}`
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"total":300000,"next_cursor":%q,"rows":[%s]}`, next, strings.TrimPrefix(strings.Repeat(line, rows), ","))
		return
	}
	fmt.Fprint(w, strings.Repeat(line, rows))
}

func (p *pages) stats(t *testing.T, args ...string) (out, stderr string) {
	server := httptest.NewServer(p)
	defer server.Close()
	_, out, stderr = runForTest(t, append([]string{"stats", "--app=acme/chat", "--server", server.URL, "--admin-key=k"}, args...)...)
	return out, stderr
}

// Lines of all pages are printed as those of one, with what is not there told beside.
func TestLinesOfStats(t *testing.T) {
	p := &pages{rows: []int{-1, -1, -1}}
	out, stderr := p.stats(t, "--csv", "--limit=150000")
	want := "key,messages\n" + strings.Repeat("a1,1\n", 100_000) + strings.Repeat("a2,1\n", 50_000)
	if out != want || stderr != "150000 of 300000 rows: --limit says how many\n" || strings.Join(p.asked, ",") != "text/csv 100000 ,text/csv 50000 c1" {
		t.Errorf("CSV: asked %q, %q, %d lines", p.asked, stderr, strings.Count(out, "\n"))
	}
	p = &pages{rows: []int{2, 1, 3}}
	if out, _ := p.stats(t, "--ndjson", "--limit=4"); out != "a1,1\na1,1\na2,1\na3,1\na3,1\na3,1\n" || p.asked[2] != "application/x-ndjson 1 c2" {
		t.Errorf("pages that are not full: asked %q\n%s", p.asked, out)
	}
	if out, stderr := p.stats(t, "--ndjson", "--csv"); out != "" || !strings.Contains(stderr, "can't be used together") {
		t.Errorf("both: %q, %s", stderr, out)
	}
}

// A page without a row that says that there is more is the last one, or the command would not end.
func TestStatsEndWithAnEmptyPage(t *testing.T) {
	for format, rows := range map[string]string{"--csv": "key,messages\n" + strings.Repeat("a1,1\n", 3), "--ndjson": strings.Repeat("a1,1\n", 3), "": ""} {
		for _, first := range []int{3, 0} {
			p := &pages{rows: []int{first}}
			args := []string{"--limit=1000000000"}
			if format != "" {
				args = append(args, format)
			}
			out, stderr := p.stats(t, args...)
			if len(p.asked) > 2 || !strings.HasPrefix(stderr, fmt.Sprint(first, " of 300000 rows")) {
				t.Errorf("%s, %d rows and then none: asked %d times, %q", format, first, len(p.asked), stderr)
			}
			if first > 0 && rows != "" && out != rows {
				t.Errorf("%s: %q", format, out)
			}
		}
	}
}

// What is written in pieces is the same.
func TestRowsInPieces(t *testing.T) {
	for _, headed := range []bool{true, false} {
		var out strings.Builder
		rows := rowWriter{w: &out, headed: headed}
		want, n := "", 0
		for answer := range 3 {
			for i, line := range []string{"head\n", "a\n", "b\n"} {
				for _, b := range []byte(line) {
					if size, err := rows.Write([]byte{b}); size != 1 || err != nil {
						t.Fatal(size, err)
					}
				}
				if i > 0 || answer == 0 || !headed {
					want += line
				}
				if i > 0 || !headed {
					n++
				}
			}
			rows.next()
		}
		if out.String() != want || rows.n != n {
			t.Errorf("headed %v: %d rows, want %d\n%s", headed, rows.n, n, out.String())
		}
	}
}
