package web

import (
	"encoding/xml"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"
)

// Charts are drawn with colours that stand for a meaning, which restyle replaces by the variables
// of style.css. So one drawing suits light and dark.
const (
	inkGrid = iota + 1
	inkAxis
	inkText
	inkSeries // and those after it: the series in order
)

// variables are the CSS variables of the inks.
var variables = map[int]string{
	inkGrid: "--line", inkAxis: "--axis", inkText: "--soft",
	inkSeries: "--s1", inkSeries + 1: "--s2", inkSeries + 2: "--s3",
}

// ink is the colour that stands for a meaning.
func ink(meaning int) charts.Color { return charts.Color{R: uint8(meaning), A: 255} }

// The library places text by the width it has in a font of its own, and the browser's may be wider
// or narrower. Text that begins with one of these, which are in no font, is placed by another point
// than its start.
const (
	anchorMiddle = "\uE000" // its middle
	anchorEnd    = "\uE001" // its end
	anchorUnder  = "\uE002" // its middle, where the library has the start
	anchors      = anchorMiddle + anchorEnd + anchorUnder
)

// The elements, attributes and styles that a drawing consists of. Nothing else gets through,
// whatever the library makes of a label.
var (
	drawn      = []string{"path", "circle", "text"}
	attributes = []string{"d", "x", "y", "cx", "cy", "r"}
	properties = []string{"fill", "stroke", "stroke-width", "font-size"}
)

// drawing is what the library draws: a flat list of shapes and texts.
type drawing struct {
	ViewBox  string    `xml:"viewBox,attr"`
	Elements []element `xml:",any"`
}

type element struct {
	XMLName    xml.Name
	Attributes []xml.Attr `xml:",any,attr"`
	Text       string     `xml:",chardata"`
}

func (e *element) attribute(name string) string {
	for _, a := range e.Attributes {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// restyle makes a drawing of the library part of the page: under the page's policy, which allows no
// style attributes, in the page's colours and fonts, with a label for those who do not see it.
// width is how wide the library takes a text to be.
func restyle(raw []byte, class, label string, width func(string) float64) (template.HTML, error) {
	var d drawing
	if err := xml.Unmarshal(raw, &d); err != nil {
		return "", fmt.Errorf("read drawing: %w", err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg class="%s" viewBox="%s" role="img" aria-label="%s">`,
		template.HTMLEscapeString(class), template.HTMLEscapeString(d.ViewBox), template.HTMLEscapeString(label))
	for i := range d.Elements {
		if e := &d.Elements[i]; slices.Contains(drawn, e.XMLName.Local) && !e.invisible() {
			e.write(&out, width)
		}
	}
	out.WriteString("</svg>")
	return template.HTML(out.String()), nil
}

// tickLength is how long the library draws ticks.
const tickLength = 5

// invisible finds what the page does without: the background, labels left out, and the ticks of the
// axes, of which there is one for each of them all the same.
func (e *element) invisible() bool {
	style := e.attribute("style")
	switch {
	case e.XMLName.Local == "text":
		return strings.TrimSpace(e.Text) == ""
	case strings.Contains(style, "fill:white") && strings.Contains(style, "stroke:none"):
		return true
	case !strings.Contains(style, fmt.Sprintf("stroke:rgb(%d,", inkAxis)):
		return false
	}
	var x1, y1, x2, y2 float64
	n, _ := fmt.Sscanf(strings.ReplaceAll(e.attribute("d"), "\n", " "), "M %f %f L %f %f", &x1, &y1, &x2, &y2)
	return n == 4 && math.Abs(x1-x2)+math.Abs(y1-y2) <= tickLength
}

// write writes the element with the properties of its style as attributes of their own.
func (e *element) write(out *strings.Builder, width func(string) float64) {
	name := e.XMLName.Local
	out.WriteString("<" + name)
	write := func(name, value string) {
		out.WriteString(" " + name + `="` + template.HTMLEscapeString(value) + `"`)
	}
	anchor, shift := anchorOf(e.Text, width)
	for _, a := range e.Attributes {
		switch name := a.Name.Local; {
		case name == "x" && anchor != "":
			x, _ := strconv.ParseFloat(a.Value, 64)
			write("x", strconv.FormatFloat(x+shift, 'f', 1, 64))
			write("text-anchor", anchor)
		case slices.Contains(attributes, name):
			write(name, strings.ReplaceAll(a.Value, "\n", ""))
		}
	}
	for part := range strings.SplitSeq(e.attribute("style"), ";") {
		name, value, _ := strings.Cut(part, ":")
		if !slices.Contains(properties, name) {
			continue
		}
		value, opacity := colour(value)
		write(name, value)
		if opacity != "" {
			write(name+"-opacity", opacity)
		}
	}
	out.WriteString(">" + template.HTMLEscapeString(strings.TrimLeft(e.Text, anchors)) + "</" + name + ">")
}

// anchorOf is where a text asks to be placed by, and how far that is from its start.
func anchorOf(text string, width func(string) float64) (anchor string, shift float64) {
	switch {
	case strings.HasPrefix(text, anchorMiddle):
		return "middle", width(text) / 2
	case strings.HasPrefix(text, anchorEnd):
		return "end", width(text)
	case strings.HasPrefix(text, anchorUnder):
		return "middle", 0
	}
	return "", 0
}

// colour replaces an ink by its variable, and takes the opacity out of it.
func colour(value string) (variable, opacity string) {
	inner, ok := strings.CutPrefix(value, "rgba(")
	if !ok {
		inner, ok = strings.CutPrefix(value, "rgb(")
	}
	if !ok {
		return value, ""
	}
	parts := strings.Split(strings.TrimSuffix(inner, ")"), ",")
	meaning, _ := strconv.Atoi(strings.TrimSpace(parts[0]))
	name, ok := variables[meaning]
	if !ok {
		return "currentColor", ""
	}
	if len(parts) == 4 {
		opacity = strings.TrimSpace(parts[3])
	}
	return "var(" + name + ")", opacity
}
