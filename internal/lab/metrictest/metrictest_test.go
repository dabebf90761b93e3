package metrictest

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestValuesAreOfTheSeriesThatAreAskedFor(t *testing.T) {
	r := prometheus.NewRegistry()
	errors := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "errors_total"}, []string{"code", "door"})
	held := prometheus.NewGauge(prometheus.GaugeOpts{Name: "held"})
	r.MustRegister(errors, held)
	errors.WithLabelValues("a", "http").Add(1)
	errors.WithLabelValues("a", "nats").Add(2)
	errors.WithLabelValues("b", "nats").Add(4)
	held.Set(-3)
	for _, test := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"errors_total", nil, 7},
		{"errors_total", []string{"code", "a"}, 3},
		{"errors_total", []string{"door", "nats", "code", "b"}, 4},
		{"held", nil, -3},
	} {
		if got := Value(t, r, test.name, test.labels...); got != test.want {
			t.Errorf("%s %v: %v, want %v", test.name, test.labels, got, test.want)
		}
	}
}

func TestSamplesAreReadFromText(t *testing.T) {
	const text = "# TYPE x_total counter\nx_total{code=\"a b\"} 1\nx_total{code=\"c\"} 2e1\nx_total_more 5\nx 7\n"
	for name, want := range map[string]float64{"x_total": 21, `x_total{code="a b"}`: 1, "x": 7, "x_total_more": 5} {
		if got, ok := Sum(text, name); !ok || got != want {
			t.Errorf("%s: %v, %v, want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{"x_", `x_total{code="d"}`, "# TYPE x_total"} {
		if got, ok := Sum(text, name); ok {
			t.Errorf("%s: %v, and is not there", name, got)
		}
	}
}
