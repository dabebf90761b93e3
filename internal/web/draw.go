package web

import (
	"fmt"
	"html/template"
	"math"
	"slices"

	"github.com/go-analyze/charts"
)

// figure is a drawing with its title, its key and the numbers it was drawn from, which say the same
// to people who cannot see it.
type figure struct {
	ID, Title string
	// Note is a sentence under the title.
	Note string
	// Drawings are the same for a wide and for a narrow screen.
	Drawings []template.HTML
	Key      []string
	Table    table
}

// table is the numbers of a figure. The first column is the heads of the rows.
type table struct {
	Head []string
	Rows [][]string
}

// plot is what is drawn.
type plot struct {
	labels []string
	series [][]float64 // missing where there is nothing to say
	format func(float64) string
	// lowest and highest are the ends of the axis; equal, they follow the values, from 0.
	lowest, highest float64
	// shares: the values are shares of one, not amounts.
	shares bool
	// ticks is the number of labels on the axis of values, 0 for what fits.
	ticks int
	// labelled says which of the things along the bottom have their labels in a drawing; nil is
	// all.
	labelled func(s size, i int) bool
}

// missing is a value that is not there: a line has a gap.
func missing() float64 { return charts.GetNullValue() }

// size is one that figures are drawn in. It is shown in about its own width, so that letters have
// about their size.
type size struct {
	class         string
	width, height int
}

var (
	narrow = size{"narrow", 330, 200}
	wide   = size{"wide", 540, 220}
	usual  = []size{narrow, wide}
	// low is for a figure of a few bars.
	low = []size{{"narrow", 330, 128}, {"wide", 540, 128}, {"broad", 1120, 132}}
)

// theme has the inks for everything.
var theme = charts.MakeTheme(charts.ThemeOption{
	AxisStrokeColor: ink(inkAxis), AxisSplitLineColor: ink(inkGrid), BackgroundColor: charts.ColorWhite,
	TextColor: ink(inkText), TextColorTitle: ink(inkText), TextColorMark: ink(inkText), TextColorLabel: ink(inkText),
	TextColorLegend: ink(inkText), TextColorXAxis: ink(inkText), TextColorYAxis: ink(inkText),
	SeriesColors: []charts.Color{ink(inkSeries), ink(inkSeries + 1), ink(inkSeries + 2)},
})

// draw draws in several sizes. The label says what is to be seen.
func draw(label string, in []size, render func(p *charts.Painter, s size) error) ([]template.HTML, error) {
	var drawings []template.HTML
	for _, s := range in {
		p := charts.NewPainter(charts.PainterOptions{
			OutputFormat: charts.ChartOutputSVG, Width: s.width, Height: s.height, Theme: theme,
		})
		if err := render(p, s); err != nil {
			return nil, fmt.Errorf("draw: %w", err)
		}
		raw, err := p.Bytes()
		if err != nil {
			return nil, fmt.Errorf("draw: %w", err)
		}
		width := func(text string) float64 { return float64(p.MeasureText(text, 0, letters).Width()) }
		drawing, err := restyle(raw, "chart "+s.class, label, width)
		if err != nil {
			return nil, err
		}
		drawings = append(drawings, drawing)
	}
	return drawings, nil
}

// lines draws values over time.
func lines(label string, p plot) ([]template.HTML, error) {
	return draw(label, usual, func(painter *charts.Painter, s size) error {
		o := charts.NewLineChartOptionWithData(p.series)
		o.Theme, o.Padding = theme, padding
		o.XAxis = p.categories(s, anchorUnder)
		o.XAxis.BoundaryGap = charts.Ptr(false)
		o.YAxis = []charts.YAxisOption{p.scale()}
		o.LineStrokeWidth = 2
		o.Symbol.Shape = charts.SymbolNone
		if sparse(p.series) {
			o.Symbol.Shape = charts.SymbolDot // a line through one point cannot be seen
		}
		if len(p.series) == 1 && unbroken(p.series[0]) { // what it fills has no gaps
			o.FillArea, o.FillOpacity = charts.Ptr(true), 36
		}
		o.Legend.Show, o.Title.Show = charts.Ptr(false), charts.Ptr(false)
		return painter.LineChart(o)
	})
}

// bars draws amounts side by side.
func bars(label string, p plot) ([]template.HTML, error) {
	return draw(label, usual, func(painter *charts.Painter, s size) error {
		o := charts.NewBarChartOptionWithData(drawnBars(p.series))
		o.Theme, o.Padding = theme, padding
		o.CategoryAxis = p.categories(s, anchorMiddle)
		o.CategoryAxis.BoundaryGap = charts.Ptr(true)
		o.ValueAxis = []charts.ValueAxisOption{p.scale()}
		o.BarSize = 0.7
		o.Legend.Show, o.Title.Show = charts.Ptr(false), charts.Ptr(false)
		return painter.BarChart(o)
	})
}

// ranks draws a few amounts below each other, each with its name and a label made of the amount.
func ranks(label string, p plot) ([]template.HTML, error) {
	return draw(label, low, func(painter *charts.Painter, s size) error {
		o := charts.NewBarChartOptionWithData(p.series)
		o.Horizontal = true
		o.Theme, o.Padding = theme, charts.Box{Top: 2, Right: 2, Bottom: 2, Left: 2, IsSet: true}
		o.CategoryAxis = charts.CategoryAxisOption{LabelFontStyle: letters}
		for _, name := range p.labels {
			o.CategoryAxis.Labels = append(o.CategoryAxis.Labels, anchorEnd+name+space)
		}
		o.ValueAxis = []charts.ValueAxisOption{p.scale()}
		// Room for the label of the longest bar, which the library puts behind it.
		highest := p.highest * (1 + 135/float64(s.width-225))
		o.ValueAxis[0].Max = &highest
		o.ValueAxis[0].Show, o.ValueAxis[0].SplitLineShow = charts.Ptr(false), charts.Ptr(false)
		o.BarSize = 0.68
		o.SeriesList[0].Label = charts.SeriesLabel{
			Show: charts.Ptr(true), FontStyle: letters,
			LabelFormatter: func(_ int, _ string, v float64) (string, *charts.LabelStyle) { return p.format(v), nil },
		}
		o.Legend.Show, o.Title.Show = charts.Ptr(false), charts.Ptr(false)
		return painter.BarChart(o)
	})
}

var padding = charts.Box{Top: 10, Right: 8, Bottom: 2, Left: 2, IsSet: true}

// letters are 12 pixels high; the library takes points.
var letters = charts.FontStyle{FontSize: 9, FontColor: ink(inkText)}

// categories has the labels, and blanks for those left out: the library would choose itself, and
// have some overlap.
func (p *plot) categories(s size, anchor string) charts.CategoryAxisOption {
	labels := make([]string, len(p.labels))
	for i := range labels {
		labels[i] = " "
		if p.labelled == nil || p.labelled(s, i) {
			labels[i] = anchor + p.labels[i]
		}
	}
	if last := len(labels) - 1; anchor == anchorUnder && labels[last] != " " {
		labels[last] = anchorEnd + p.labels[last] // the library has it end with the axis
	}
	return charts.CategoryAxisOption{Labels: labels, LabelFontStyle: letters, LabelCount: len(labels)}
}

func (p *plot) scale() charts.ValueAxisOption {
	lowest, highest, ticks := p.lowest, p.highest, p.ticks
	if lowest == highest {
		lowest, highest, ticks = 0, ceiling(p.series, p.shares), 5
	}
	return charts.ValueAxisOption{
		Min: &lowest, Max: &highest, RangeValuePaddingScale: charts.Ptr(0.0), LabelCount: ticks, LabelFontStyle: letters,
		SpineLineShow: charts.Ptr(false), SplitLineShow: charts.Ptr(true), ValueFormatter: func(v float64) string { return anchorEnd + p.format(v) },
	}
}

// ceiling is a round number above all values, that four parts divide well: into whole amounts, or
// into shares of at most one.
func ceiling(series [][]float64, shares bool) float64 {
	largest := 0.0
	for _, values := range series {
		for _, v := range values {
			if v != missing() {
				largest = max(largest, v)
			}
		}
	}
	least, most := 4.0, math.Inf(1)
	if shares {
		least, most = 0.04, 1
	}
	if largest <= least {
		return least
	}
	power := math.Pow(10, math.Floor(math.Log10(largest)))
	for _, step := range []float64{1, 1.2, 1.6, 2, 3.2, 4, 6, 8} {
		if v := step * power; v >= largest {
			return min(v, most)
		}
	}
	return min(10*power, most)
}

// drawnBars leaves out the amounts of nothing, which would be drawn as lines.
func drawnBars(series [][]float64) [][]float64 {
	out := make([][]float64, len(series))
	for i, values := range series {
		out[i] = slices.Clone(values)
		for k, v := range values {
			if v == 0 {
				out[i][k] = missing()
			}
		}
	}
	return out
}

// unbroken reports whether a series, once it has begun, has a value everywhere.
func unbroken(values []float64) bool {
	begun := slices.IndexFunc(values, func(v float64) bool { return v != missing() })
	return begun >= 0 && !slices.Contains(values[begun:], missing())
}

// sparse reports whether a value stands alone, with none beside it that a line could lead to.
func sparse(series [][]float64) bool {
	for _, values := range series {
		there := func(i int) bool { return i >= 0 && i < len(values) && values[i] != missing() }
		for i := range values {
			if there(i) && !there(i-1) && !there(i+1) {
				return true
			}
		}
	}
	return false
}
