package bench

import (
	"fmt"
	"math"

	"github.com/go-analyze/charts"

	"github.com/receiptd/receiptd/internal/progress"
)

// SVG draws the curve: loads from left to right at equal distances, latencies upwards on a
// logarithmic scale.
func (c *Curve) SVG() ([]byte, error) {
	const width, height = 840, 440
	names := []string{"p50", "p99"}
	values := make([][]float64, len(names))
	labels := make([]string, len(c.Points))
	lowest, highest := math.Inf(1), math.Inf(-1)
	for i, p := range c.Points {
		labels[i] = progress.Count(p.Load * c.EndToEnd)
		for k, ms := range []float64{p.P50, p.P99} {
			values[k] = append(values[k], math.Log10(ms))
			lowest, highest = min(lowest, math.Log10(ms)), max(highest, math.Log10(ms))
		}
	}
	lowest, highest = math.Floor(lowest), math.Ceil(highest)

	o := charts.NewLineChartOptionWithData(values)
	o.Title.Text = "From submit to visible, by load"
	o.Title.Subtext = fmt.Sprintf("receiptd, fsync %s, %d partitions; the last load is what it took without a schedule", c.Fsync, c.Partitions)
	o.Title.FontStyle.FontSize, o.Title.SubtextFontStyle.FontSize = 12, 9
	o.Title.Offset = charts.OffsetLeft
	o.Legend.SeriesNames = names
	o.Legend.Offset = charts.OffsetRight
	o.XAxis.Labels, o.XAxis.LabelCount, o.XAxis.BoundaryGap = labels, len(labels), charts.Ptr(true)
	o.XAxis.Title = "receipts a second that are submitted"
	o.XAxis.LabelFontStyle.FontSize, o.XAxis.TitleFontStyle.FontSize = 9, 9
	o.YAxis[0].LabelFontStyle.FontSize, o.YAxis[0].TitleFontStyle.FontSize = 9, 9
	// The library draws a linear axis: it gets the logarithms, and labels at whole ones.
	o.YAxis[0].Title = "milliseconds"
	o.YAxis[0].Min, o.YAxis[0].Max = &lowest, &highest
	o.YAxis[0].Unit, o.YAxis[0].LabelCount = 1, int(highest-lowest)+1
	o.YAxis[0].RangeValuePaddingScale = charts.Ptr(0.0)
	o.YAxis[0].ValueFormatter = func(v float64) string { return fmt.Sprint(math.Pow(10, v)) }
	o.Padding = charts.NewBox(20, 20, 20, 20)

	painter := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: width, Height: height})
	if err := painter.LineChart(o); err != nil {
		return nil, fmt.Errorf("bench: draw: %w", err)
	}
	return painter.Bytes()
}
