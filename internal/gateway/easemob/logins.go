package easemob

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/accounts"
	"github.com/receiptd/receiptd/internal/gateway"
)

// Wrong passwords: so many at once, and then one each so often. Of an account from one address few,
// so that guessing is hopeless; of an account from all together more, so that a stranger does not
// keep its owner out; from an address, whichever the accounts.
const (
	wrongOfAccountAt, wrongOfAccountAtEvery = 10, 30 * time.Second
	wrongOfAccount, wrongOfAccountEvery     = 100, 10 * time.Second
	wrongAt, wrongAtEvery                   = 200, time.Second
	// loginReport is how often failures are written to the log.
	loginReport = 10 * time.Second
)

// logins bounds how often passwords are guessed.
type logins struct {
	ofAccountAt, ofAccount, at *gateway.Throttle

	logger   *slog.Logger
	results  *prometheus.CounterVec
	failures atomic.Int64 // since the last report
	reported atomic.Int64 // when that was, in Unix nanoseconds
}

func newLogins(logger *slog.Logger, r prometheus.Registerer) *logins {
	throttle := func(burst int, every time.Duration) *gateway.Throttle {
		return gateway.NewThrottle(1/every.Seconds(), burst)
	}
	l := &logins{
		ofAccountAt: throttle(wrongOfAccountAt, wrongOfAccountAtEvery), ofAccount: throttle(wrongOfAccount, wrongOfAccountEvery),
		at: throttle(wrongAt, wrongAtEvery), logger: logger,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "receiptd_sdk_password_logins_total", Help: "Logins with a password by result: ok, wrong, refused (too many were wrong) or error.",
		}, []string{"result"}),
	}
	for _, result := range []string{"ok", "wrong", "refused", "error"} {
		l.results.WithLabelValues(result)
	}
	if r != nil {
		r.MustRegister(l.results)
	}
	return l
}

// check has a login count as failed until it is known to be right, so that guesses at the same time
// are bounded too. Whether there is such an account makes no difference.
func (l *logins) check(c *call, user string, login func() error) error {
	account, from := c.app+"/"+user, gateway.Address(c.r.RemoteAddr)
	type take struct {
		from *gateway.Throttle
		key  string
	}
	takes := []take{{l.ofAccountAt, account + " " + from}, {l.ofAccount, account}, {l.at, from}}
	for i, t := range takes {
		if _, ok := t.from.Take(t.key, 1); !ok {
			for _, t := range takes[:i] {
				t.from.Give(t.key, 1)
			}
			l.failed(c, account, from, "refused")
			return errTooOften
		}
	}
	err := login()
	if wrong := errors.Is(err, accounts.ErrWrongPassword) || errors.Is(err, accounts.ErrNotFound); wrong {
		l.failed(c, account, from, "wrong")
		return err
	}
	for _, t := range takes {
		t.from.Give(t.key, 1)
	}
	result := "ok"
	if err != nil {
		result = "error"
	}
	l.results.WithLabelValues(result).Inc()
	return err
}

// failed counts a failure, and writes it to the log together with those that came shortly before.
func (l *logins) failed(c *call, account, from, result string) {
	l.results.WithLabelValues(result).Inc()
	l.failures.Add(1)
	last, now := l.reported.Load(), time.Now().UnixNano()
	if now-last >= int64(loginReport) && l.reported.CompareAndSwap(last, now) {
		l.logger.LogAttrs(context.WithoutCancel(c.ctx), slog.LevelWarn, "sdk: logins failed", slog.Int64("failures", l.failures.Swap(0)),
			slog.String("last_account", account), slog.String("last_address", from), slog.String("last_result", result))
	}
}
