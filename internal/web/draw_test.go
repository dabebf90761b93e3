package web

import (
	"html/template"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDrawingsStayInTheirBox: what lies outside is drawn, too, and makes the page wider than the
// screen.
func TestDrawingsStayInTheirBox(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	for range 60 {
		n := 2 + random.IntN(40)
		p := plot{format: short, labelled: func(_ size, i int) bool { return i%5 == 0 }}
		for range 1 + random.IntN(3) {
			values := make([]float64, n)
			for i := range values {
				switch random.IntN(4) {
				case 0:
					values[i] = missing()
				case 1:
				default:
					values[i] = random.Float64() * float64(int(1)<<random.IntN(20))
				}
			}
			p.series = append(p.series, values)
		}
		for i := range n {
			p.labels = append(p.labels, strconv.Itoa(i))
		}
		for name, draw := range map[string]func(string, plot) ([]template.HTML, error){"lines": lines, "bars": bars} {
			drawings, err := draw("x", p)
			if err != nil {
				t.Fatal(err)
			}
			for k, d := range drawings {
				if point := outside(string(d), usual[k]); point != "" {
					t.Fatalf("%s of %v in %s: %q is outside", name, p.series, usual[k].class, point)
				}
			}
		}
	}
}

// TestAreaIsUnderItsLine: where a value is missing the library fills what is under no line.
func TestAreaIsUnderItsLine(t *testing.T) {
	const there = 0.5
	for _, test := range []struct {
		values []float64
		filled bool
	}{
		{[]float64{there, there, there, there}, true},
		{[]float64{missing(), there, there, there}, true},
		{[]float64{there, there, missing(), missing()}, false}, // the end of the span is to come
		{[]float64{there, there, missing(), there, there}, false},
	} {
		drawings, err := lines("x", plot{labels: make([]string, len(test.values)), series: [][]float64{test.values}, format: short})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range drawings {
			if filled := strings.Contains(string(d), "fill-opacity"); filled != test.filled {
				t.Errorf("%v: filled %v", test.values, filled)
			}
		}
	}
}

var (
	pathData   = regexp.MustCompile(`\sd="([^"]*)"`)
	coordinate = regexp.MustCompile(`(-?[\d.]+(?:e\+?\d+)?)[ ,](-?[\d.]+(?:e\+?\d+)?)`)
)

// outside finds a point of a path that is outside of the drawing.
func outside(drawing string, s size) string {
	for _, d := range pathData.FindAllStringSubmatch(drawing, -1) {
		for _, xy := range coordinate.FindAllStringSubmatch(d[1], -1) {
			x, _ := strconv.ParseFloat(xy[1], 64)
			y, _ := strconv.ParseFloat(xy[2], 64)
			if x < 0 || x > float64(s.width) || y < 0 || y > float64(s.height) {
				return strings.TrimSpace(xy[0]) + " of " + d[1]
			}
		}
	}
	return ""
}
