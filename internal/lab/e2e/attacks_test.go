package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// What holds while an attack lasts and after it, whoever else uses the machine.
const (
	// attackMemory bounds the process in MiB, of the 1 GiB that is documented.
	attackMemory = 900
	// attackPatience is how long a question or a post of the quiet client may take, and until all
	// is as before: on an idle machine it is below a second.
	attackPatience = 10 * time.Second
	// attackLog bounds the bytes that the server logs about an attack.
	attackLog = 16 << 10
	// attackLeft bounds the goroutines and files that are more than before.
	attackLeft = 40
)

// attack is what a hostile client does.
type attack struct {
	name string
	// short is a part of the sample that testing.Short takes.
	short bool
	// run does it and says what was answered. What must not be is reported to the attacker's test.
	run func(x *attacker) (seen string)
}

// TestAttacks has a hostile client attack a server at each door, from another address than that of
// a quiet client, which is answered all the while. Memory is bounded, the log is not filled, and
// soon after the attack everything is as before; in the end nothing in the log is damaged.
//
// With -v it prints the table of docs/threat-model.md.
func TestAttacks(t *testing.T) {
	s, url := ingressServer(t, "--fsync=always")
	x := &attacker{server: s, nats: strings.TrimPrefix(url, "nats://")}
	x.prepare(t)
	for _, a := range slices.Concat(connectionAttacks, bodyAttacks, readerAttacks, cheapAttacks, http2Attacks, socketAttacks, nameAttacks) {
		if testing.Short() && !a.short {
			continue
		}
		t.Run(strings.ReplaceAll(a.name, " ", "_"), func(t *testing.T) { x.suffer(t, a) })
	}
	if n := s.metric("receiptd_fold_poison_entries_total"); n != 0 {
		t.Errorf("%v entries of the log are poison", n)
	}
	s.verify()
}

const (
	quietApp = "quiet#app"
	evilApp  = "evil#app"
)

// attacker is a client at 127.0.0.2, while all others are at 127.0.0.1.
type attacker struct {
	*server
	t    testing.TB
	nats string // host:port
}

func (x *attacker) prepare(t *testing.T) {
	x.t = t
	for _, app := range []string{quietApp, evilApp} {
		x.must("PUT", appPath(app), map[string]any{"group_receipts": map[string]any{"enabled": true, "max_group_size": 0}}, nil)
		group := events.Event{Kind: events.GroupCreated, Group: "g", User: "anna"}
		for i := range 1000 {
			group.Members = append(group.Members, fmt.Sprintf("u%d", i))
		}
		all := []events.Event{group, {Kind: events.MessageSent, Group: "g", Message: "m", User: "anna", Receipt: true}}
		for i := range 1000 {
			all = append(all, events.Event{
				Kind: events.MessageRead, Group: "g", Message: "m", User: fmt.Sprintf("u%d", i), Content: strings.Repeat("c", 500),
			})
		}
		x.apply(app, all...)
	}
}

// state is what an attack must not change for long.
type state struct{ goroutines, files, memory int }

func (x *attacker) state() state {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", x.process.cmd.Process.Pid))
	if err != nil {
		x.t.Fatal(err)
	}
	return state{int(x.metric("go_goroutines")), len(files), x.rss()}
}

// suffer runs an attack and checks what was promised.
func (x *attacker) suffer(t *testing.T, a attack) {
	x.t = t
	before, logged := x.state(), len(x.process.err.String())
	quiet := x.startNeighbour()
	seen := a.run(x)
	during, ended := quiet.take(), time.Now()
	eventually(t, "all is as before", func() bool {
		now := x.state()
		return now.goroutines <= before.goroutines+attackLeft && now.files <= before.files+attackLeft
	})
	back := time.Since(ended)
	quiet.stop()
	after := quiet.take()
	if back > attackPatience {
		t.Errorf("all was as before after %s", back)
	}
	if failed := slices.Concat(during.failed, after.failed); len(failed) > 0 {
		t.Errorf("%d requests of the quiet client failed: %s", len(failed), failed[0])
	}
	for when, took := range map[string][]time.Duration{"during": during.took, "after": after.took} {
		if p := percentile(took, 100); p > attackPatience {
			t.Errorf("%s it, the quiet client waited %s", when, p)
		}
	}
	if quiet.memory > attackMemory {
		t.Errorf("%d MiB, the bound is %d", quiet.memory, attackMemory)
	}
	if n := len(x.process.err.String()) - logged; n > attackLog {
		t.Errorf("%d bytes were logged, the bound is %d", n, attackLog)
	}
	t.Logf("| %s | %s | %d, %+d | %s, %s | %.1f s |", a.name, seen, quiet.memory, quiet.memory-before.memory,
		milliseconds(percentile(during.took, 50)), milliseconds(percentile(during.took, 99)), back.Seconds())
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

// percentile of what took so long; 100 is the longest.
func percentile(took []time.Duration, p int) time.Duration {
	if len(took) == 0 {
		return 0
	}
	took = slices.Sorted(slices.Values(took))
	return took[min(len(took)*p/100, len(took)-1)]
}

// neighbour is a quiet client that asks a little, twenty times a second.
type neighbour struct {
	x      *attacker
	memory int // MiB, at most
	end    chan struct{}
	over   sync.WaitGroup

	mu  sync.Mutex
	now neighbourTimes
}

type neighbourTimes struct {
	took   []time.Duration
	failed []string
}

func (x *attacker) startNeighbour() *neighbour {
	q := &neighbour{x: x, end: make(chan struct{})}
	q.over.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			q.round()
			select {
			case <-tick.C:
			case <-q.end:
				return
			}
		}
	})
	return q
}

// round is a look at readiness, a post and a question.
func (q *neighbour) round() {
	q.memory = max(q.memory, q.x.rss())
	for _, c := range []struct {
		method, path string
		body         []byte
	}{
		{"GET", "/readyz", nil},
		{"POST", appPath(quietApp) + "/events", readOf(1)},
		{"POST", appPath(quietApp) + "/messages:counts", []byte(`{"ids":["m"]}`)},
	} {
		began := time.Now()
		_, err := q.x.do(c.method, c.path, "application/json", c.body)
		q.mu.Lock()
		q.now.took = append(q.now.took, time.Since(began))
		if err != nil {
			q.now.failed = append(q.now.failed, c.path+": "+err.Error())
		}
		q.mu.Unlock()
	}
}

// take returns what came since the last time.
func (q *neighbour) take() (t neighbourTimes) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, q.now = q.now, neighbourTimes{}
	return t
}

func (q *neighbour) stop() {
	close(q.end)
	q.over.Wait()
}

// dial opens a connection from the attacker's address with a small buffer for what it may read.
func (x *attacker) dial(address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: attackPatience}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	return conn, conn.SetDeadline(time.Now().Add(attackPatience))
}

func (x *attacker) door() string {
	base, _ := x.address()
	return strings.TrimPrefix(base, "http://")
}

// head is that of a request with the admin key.
func (x *attacker) head(method, path string, more ...string) string {
	_, key := x.address()
	return strings.Join(slices.Concat([]string{method + " " + path + " HTTP/1.1", "Host: localhost", "Authorization: Bearer " + key}, more, []string{"", ""}), "\r\n")
}

// hold opens so many connections, says the same on each and keeps them for a while. It says how
// many the server had closed by then.
func (x *attacker) hold(address string, n int, text string, d time.Duration, drip string) string {
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range n {
		conn, err := x.dial(address)
		if err != nil {
			continue
		}
		conns = append(conns, conn)
		_, _ = io.WriteString(conn, text) // it may have been refused
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(time.Second, d)) // it is what the attack does
		for _, c := range conns {
			_ = c.SetDeadline(time.Now().Add(time.Millisecond))
			_, _ = io.WriteString(c, drip)
		}
	}
	closed := 0
	for _, c := range conns {
		_ = c.SetDeadline(time.Now().Add(time.Millisecond))
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, os.ErrDeadlineExceeded) {
			closed++
		}
	}
	return fmt.Sprintf("%d of %d were closed", closed, n)
}

// say sends some bytes and returns the beginning of the answer.
func (x *attacker) say(text string) string {
	conn, err := x.dial(x.door())
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, text) }() // which may be answered before it is there
	_ = conn.SetReadDeadline(time.Now().Add(attackPatience))
	first := make([]byte, 12)
	if _, err := io.ReadFull(conn, first); err != nil {
		return "none"
	}
	return string(first[len("HTTP/1.1 "):])
}

// flood sends a request again and again, many at a time, and counts the answers.
func (x *attacker) flood(times, atOnce int, request func(i int) *http.Request) string {
	client := &http.Client{Timeout: 2 * attackPatience, Transport: &http.Transport{
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
	}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	answers := map[string]int{}
	var all sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i := range times {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			answer := "none"
			if res, err := client.Do(request(i)); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				answer = fmt.Sprint(res.StatusCode)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[answer]++
		})
	}
	all.Wait()
	return tally(answers)
}

// pipeline sends the same request on each of so many connections for five seconds, without waiting
// for an answer; all are read.
func (x *attacker) pipeline(conns int, request string) string {
	var all sync.WaitGroup
	var answered atomic.Int64
	text := strings.Repeat(request, 1+16_000/len(request))
	for range conns {
		conn, err := x.dial(x.door())
		if err != nil {
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		all.Go(func() {
			defer conn.Close()
			for {
				if _, err := io.WriteString(conn, text); err != nil {
					return
				}
			}
		})
		all.Go(func() {
			part := make([]byte, 64<<10)
			for {
				n, err := conn.Read(part)
				answered.Add(int64(bytes.Count(part[:n], []byte("HTTP/1.1 "))))
				if err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return fmt.Sprintf("%d answers in 5 s", answered.Load())
}

func tally(answers map[string]int) string {
	var list []string
	for _, a := range slices.Sorted(maps.Keys(answers)) {
		list = append(list, fmt.Sprintf("%s × %d", a, answers[a]))
	}
	return strings.Join(list, ", ")
}

// request makes one with the admin key.
func (x *attacker) request(method, path string, body []byte, header ...string) *http.Request {
	base, key := x.address()
	r, err := http.NewRequest(method, base+path, bytes.NewReader(body))
	if err != nil {
		panic(err) // of this file's making
	}
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// want fails the test unless each text is answered as it says.
func (x *attacker) want(answers map[string]string) string {
	seen := map[string]int{}
	for text, want := range answers {
		got := x.say(text)
		if seen[got]++; got != want {
			x.t.Errorf("%.200q: %s, want %s", text, got, want)
		}
	}
	return tally(seen)
}
