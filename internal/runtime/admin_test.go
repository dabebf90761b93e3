package runtime

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/schema"
)

// answer is a line of a rebuild.
type answer struct {
	Progress *projector.Progress
	Result   *projector.RebuildResult
	Error    *struct{ Code, Message string }
}

func post(t *testing.T, url string) (status int, lines []answer) {
	t.Helper()
	request, err := http.NewRequestWithContext(testContext(t), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body := bufio.NewScanner(response.Body)
	for body.Scan() {
		var a answer
		if err := json.Unmarshal(body.Bytes(), &a); err != nil {
			t.Fatalf("%s: %v", body.Text(), err)
		}
		lines = append(lines, a)
	}
	return response.StatusCode, lines
}

func TestVerifyAndReplayReportAsTheyGo(t *testing.T) {
	r, base := serveAdmin(t, testConfig(t))
	if _, err := r.Configure(testContext(t), app, limit(0)); err != nil {
		t.Fatal(err)
	}
	r.append(group("g", 3)...)
	r.caughtUp()
	stored := 0
	for k := range partitions {
		stored += len(r.read(k))
	}
	for path, switched := range map[string]bool{
		"/v1/admin/verify": false, "/v1/admin/replay": true, "/v1/admin/replay?projection=readset": true,
	} {
		status, lines := post(t, base+path)
		if status != http.StatusOK || len(lines) < 2 {
			t.Fatalf("%s: status %d, %d lines", path, status, len(lines))
		}
		for _, a := range lines[:len(lines)-1] {
			if a.Progress == nil {
				t.Errorf("%s: %+v before the last line", path, a)
			}
		}
		last := lines[len(lines)-1].Result
		if last == nil || last.Node != "" || !last.Equal || last.Switched != switched || last.Events != uint64(stored) || len(last.Partitions) != partitions {
			t.Errorf("%s: %+v", path, last)
		}
	}
	if status, lines := post(t, base+"/v1/admin/verify?node=a"); status != http.StatusBadRequest || lines[0].Error == nil ||
		!strings.Contains(lines[0].Error.Message, "no node") {
		t.Errorf("a node, of a server that is alone: status %d, %+v", status, lines)
	}
	if status, lines := post(t, base+"/v1/admin/replay?projection=none"); status != http.StatusBadRequest || lines[0].Error == nil ||
		!strings.Contains(lines[0].Error.Message, "none") {
		t.Errorf("an unknown projection: status %d, %+v", status, lines)
	}
	m, err := r.Projector.Message(app, "g-a")
	if err != nil || m.Read != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestAdminCallsAreDescribed holds the calls and the description together.
func TestAdminCallsAreDescribed(t *testing.T) {
	described, err := schema.QueryParameters()
	if err != nil {
		t.Fatal(err)
	}
	var served, listed []string
	for _, c := range adminCalls(t.Context(), nil, nil, nil) {
		served = append(served, c.Method+" "+c.Path)
	}
	for call := range described {
		if strings.Contains(call, " /v1/admin/") {
			listed = append(listed, call)
		}
	}
	slices.Sort(served)
	slices.Sort(listed)
	if !slices.Equal(served, listed) {
		t.Errorf("served\n%q\ndescribed\n%q", served, listed)
	}
}

func TestPoisonIsListed(t *testing.T) {
	server := natstest.StartServer(t)
	cfg := testConfig(t)
	cfg.Log.NATS = config.ServerURLs(server.URL())
	r, base := serveAdmin(t, cfg)
	ack, err := server.JetStream().Publish(testContext(t), events.BatchSubject(2), []byte("not a batch"))
	if err != nil {
		t.Fatal(err)
	}
	r.caughtUp()
	response, err := http.Get(base + "/v1/admin/poison")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body struct {
		Total  int
		Latest []deadLetter
	}
	text, _ := io.ReadAll(response.Body)
	if err := json.Unmarshal(text, &body); err != nil || body.Total != 1 || len(body.Latest) != 1 {
		t.Fatalf("%s, %v", text, err)
	}
	if x := body.Latest[0]; x.Partition != 2 || x.Sequence != ack.Sequence || x.Reason == "" || x.Time == "" || x.Subject != events.BatchSubject(2) || x.Data != "not a batch" {
		t.Errorf("%+v", x)
	}
}

// Whoever asks for an answer without an end and reads nothing of it is let go of.
func TestAnswersOfOperationsThatAreNotReadEnd(t *testing.T) {
	t.Parallel()
	for _, flushed := range []bool{false, true} {
		over := make(chan error, 1)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			out := &patientWriter{ResponseWriter: w, limit: 100 * time.Millisecond, http1: true}
			piece := make([]byte, 64<<10)
			for {
				_, err := out.Write(piece)
				if err == nil && flushed {
					err = http.NewResponseController(out).Flush()
				}
				if err != nil {
					over <- err
					return
				}
			}
		}))
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-over:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("it is written on and on")
		}
		_ = conn.Close()
		s.Close()
	}
}

// Each tail reads the log by consumers of its own, so that only so many are open.
func TestTailsAreBounded(t *testing.T) {
	t.Parallel()
	a := &admin{tails: make(chan struct{}, 1)}
	a.tails <- struct{}{}
	w := httptest.NewRecorder()
	a.tail(w, httptest.NewRequest("GET", "/v1/admin/tail", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"busy"`) || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}
