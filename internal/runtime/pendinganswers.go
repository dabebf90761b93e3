package runtime

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/fair"
	"github.com/receiptd/receiptd/internal/gateway"
)

const (
	// answersMost bounds the bytes of answers that wait until their clients take them.
	answersMost = 256 << 20
	// smallAnswer is up to which size an answer counts as part of its request, whose number is
	// bounded.
	smallAnswer = 16 << 10
)

// pendingAnswers bounds the memory of answers that were made and wait until their clients take
// them, which these may delay until the request's time is up. When there is too much of it, the
// answers of the address that has most give way, the last one first, to those of an address that
// has less; others are cut off, as whether the request did something is no longer for a status to
// say.
type pendingAnswers struct {
	next    http.Handler
	bytes   *fair.Slots
	cut     prometheus.Counter
	dropped prometheus.Counter
}

func newPendingAnswers(next http.Handler, most int, registry prometheus.Registerer) *pendingAnswers {
	a := &pendingAnswers{
		next: next, bytes: fair.NewSlots(most, nil),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_http_answers_cut_total", Help: "Answers that were cut off, since too many bytes of answers waited to be taken.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_http_answers_dropped_total", Help: "Answers that were not taken and gave way to those of other addresses.",
		}),
	}
	registry.MustRegister(a.cut, a.dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "receiptd_http_answers_bytes", Help: "Bytes of large answers that wait to be taken by their clients.",
	}, func() float64 { return float64(a.bytes.Taken()) }))
	return a
}

// ServeHTTP implements [http.Handler].
func (a *pendingAnswers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &pendingAnswerWriter{ResponseWriter: w, of: a, ctx: r.Context(), from: r.RemoteAddr}
	a.next.ServeHTTP(answer, r)
	if answer.cut.Load() {
		panic(http.ErrAbortHandler) // here, as handlers may write in goroutines of their own
	}
}

var errAnswerCut = errors.New("runtime: too many bytes of answers wait to be taken")

// pendingAnswerWriter counts what waits in a Write.
type pendingAnswerWriter struct {
	http.ResponseWriter
	of   *pendingAnswers
	ctx  context.Context // of the request
	from string
	cut  atomic.Bool
}

// Unwrap is for http.ResponseController.
func (w *pendingAnswerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write writes a part of the answer. If there is no room for it, nothing more of the answer is
// written, and the client sees that it is not whole.
func (w *pendingAnswerWriter) Write(p []byte) (int, error) {
	if w.cut.Load() {
		return 0, errAnswerCut
	}
	if len(p) <= smallAnswer {
		return w.ResponseWriter.Write(p)
	}
	writing := &writing{w: w.ResponseWriter, ctx: w.ctx}
	slot := w.of.bytes.TakeSize(gateway.Address(w.from), len(p), func() {
		w.of.dropped.Inc()
		writing.end()
	})
	if slot == nil {
		w.of.cut.Inc()
		w.cut.Store(true)
		return 0, errAnswerCut
	}
	defer writing.over()
	defer slot.Release()
	return w.ResponseWriter.Write(p)
}
