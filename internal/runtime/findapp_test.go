package runtime

import (
	"errors"
	"net/http"
	"reflect"
	"testing"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// A node that cannot ask the log whether another node has made an app meanwhile does not say that
// there is none.
func TestAppsAreNotUnknownWhileTheLogIsAway(t *testing.T) {
	t.Parallel()
	proxy := natstest.StartProxy(t, natstest.StartServer(t).Addr())
	cfg := testConfig(t)
	cfg.Log.NATS = config.ServerURLs(proxy.URL())
	cfg.Cluster.Node = "a"
	r := start(t, cfg)
	eventually(t, "the node is ready", func() bool { return r.call("GET", "/readyz", nil, nil).status == http.StatusOK })
	if a := r.call("PUT", "/v1/apps/acme/known", nil, struct{}{}); a.status != http.StatusOK {
		t.Fatal(a)
	}
	if _, _, err := r.state().FindApp("acme#other"); !errors.Is(err, projector.ErrNoApp) {
		t.Errorf("before: %v", err)
	}
	proxy.Hold()
	defer proxy.Release()
	if _, _, err := r.state().FindApp("acme#other"); !errors.Is(err, projector.ErrLate) {
		t.Errorf("without the log: %v", err)
	}
	if _, _, err := r.state().FindApp("acme#known"); err != nil {
		t.Error(err)
	}
	if a := r.call("GET", "/v1/apps/acme/other", nil, nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("without the log: %v", a)
	}
}

// unsureFolds cannot tell which apps there are.
type unsureFolds struct{ folds }

func (unsureFolds) FindApp(string) (events.Settings, uint64, error) {
	return events.Settings{}, 0, projector.ErrLate
}

// Whoever configures an app is told what is in force, or that nobody can tell.
func TestNobodyCanTellWhatIsInForce(t *testing.T) {
	t.Parallel()
	r := start(t, testConfig(t))
	c := &commands{log: r.Log, projector: unsureFolds{r.Projector}, users: newUserLocks()}
	if s, err := c.Configure(testContext(t), app, limit(3)); !errors.Is(err, projector.ErrLate) {
		t.Errorf("in force: %+v, %v", s, err)
	}
	if s, _ := r.inForce(); !reflect.DeepEqual(s, limit(3)) {
		t.Errorf("in force: %+v", s)
	}
}
