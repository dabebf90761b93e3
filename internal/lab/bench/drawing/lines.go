// Package drawing draws what the benchmarks measure.
package drawing

import (
	"fmt"
	"math"

	"github.com/go-analyze/charts"
)

// Lines is a picture of one or more series over the same steps: the steps lie at equal distances
// from left to right, the values on a logarithmic scale upwards.
type Lines struct {
	Title, Subtitle string
	// X and Y say what the axes show, and Steps name the places on the first.
	X, Y  string
	Steps []string
	// Series are the lines in the order of the legend. Each has a value above zero for each step,
	// or NaN for none.
	Series []Series
	// Label is the text of a whole power of ten on the axis of values.
	Label func(value float64) string
}

// Series is a line.
type Series struct {
	Name   string
	Values []float64
}

// SVG draws them.
func (l *Lines) SVG() ([]byte, error) {
	const width, height = 840, 440
	names := make([]string, len(l.Series))
	logarithms := make([][]float64, len(l.Series))
	lowest, highest := math.Inf(1), math.Inf(-1)
	for i, s := range l.Series {
		names[i] = s.Name
		for _, value := range s.Values {
			if math.IsNaN(value) {
				logarithms[i] = append(logarithms[i], charts.GetNullValue())
				continue
			}
			log := math.Log10(value)
			logarithms[i] = append(logarithms[i], log)
			lowest, highest = min(lowest, log), max(highest, log)
		}
	}
	lowest, highest = math.Floor(lowest), math.Ceil(highest)

	o := charts.NewLineChartOptionWithData(logarithms)
	o.Title.Text, o.Title.Subtext = l.Title, l.Subtitle
	o.Title.FontStyle.FontSize, o.Title.SubtextFontStyle.FontSize = 12, 9
	o.Title.Offset = charts.OffsetLeft
	o.Legend.SeriesNames = names
	o.Legend.FontStyle.FontSize, o.Legend.Offset = 9, charts.OffsetRight
	o.XAxis.Labels, o.XAxis.LabelCount, o.XAxis.BoundaryGap = l.Steps, len(l.Steps), charts.Ptr(true)
	o.XAxis.Title = l.X
	o.XAxis.LabelFontStyle.FontSize, o.XAxis.TitleFontStyle.FontSize = 9, 9
	y := &o.YAxis[0]
	y.LabelFontStyle.FontSize, y.TitleFontStyle.FontSize = 9, 9
	// The library draws a linear axis: it gets the logarithms, and labels at whole ones.
	y.Title = l.Y
	y.Min, y.Max = &lowest, &highest
	y.Unit, y.LabelCount = 1, int(highest-lowest)+1
	y.RangeValuePaddingScale = charts.Ptr(0.0)
	y.ValueFormatter = func(log float64) string { return l.Label(math.Pow(10, log)) }
	o.Padding = charts.NewBox(20, 20, 20, 20)

	painter := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: width, Height: height})
	if err := painter.LineChart(o); err != nil {
		return nil, fmt.Errorf("drawing: %w", err)
	}
	return painter.Bytes()
}
