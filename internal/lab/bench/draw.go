package bench

import (
	"fmt"

	"github.com/receiptd/receiptd/internal/lab/bench/drawing"
	"github.com/receiptd/receiptd/internal/progress"
)

// SVG draws the curve: latencies by load.
func (c *Curve) SVG() ([]byte, error) {
	l := drawing.Lines{
		Title:    "From submit to visible, by load",
		Subtitle: fmt.Sprintf("receiptd, fsync %s, %d partitions; the last load is what it took without a schedule", c.Fsync, c.Partitions),
		X:        "receipts a second that are submitted",
		Y:        "milliseconds",
		Series:   []drawing.Series{{Name: "p50"}, {Name: "p99"}},
		Label:    func(ms float64) string { return fmt.Sprint(ms) },
	}
	for _, p := range c.Points {
		l.Steps = append(l.Steps, progress.Count(p.Load*c.EndToEnd))
		l.Series[0].Values = append(l.Series[0].Values, p.P50)
		l.Series[1].Values = append(l.Series[1].Values, p.P99)
	}
	return l.SVG()
}
