package web

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"
)

// Charts are drawn with colours that stand for a meaning, which restyle replaces by the variables of style.css. So one
// drawing suits light and dark.
const (
	inkGrid = iota + 1
	inkAxis
	inkText
	inkSeries // and those after it: the series in order
)

// variables are the CSS variables of the inks.
var variables = map[int]string{
	inkGrid: "--line", inkAxis: "--axis", inkText: "--soft",
	inkSeries: "--s1", inkSeries + 1: "--s2", inkSeries + 2: "--s3", inkSeries + 3: "--s4",
}

// ink is the colour that stands for a meaning.
func ink(meaning int) charts.Color { return charts.Color{R: uint8(meaning), A: 255} }

// The elements and attributes that a drawing consists of. Nothing else gets through, whatever the library
// makes of a label.
var (
	drawn      = []string{"path", "circle", "text"}
	attributes = []string{"d", "x", "y", "cx", "cy", "r", "transform"}
	properties = []string{"fill", "stroke", "stroke-width", "stroke-dasharray", "font-size"}
)

// restyle makes a drawing of the library part of the page: under the page's policy, which allows no style attributes,
// in the page's colours and fonts, with a name for those who do not see it.
func restyle(drawing []byte, class, label string) (template.HTML, error) {
	var out bytes.Buffer
	textAt := -1 // where the text element under way began, or none
	decoder := xml.NewDecoder(bytes.NewReader(drawing))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return template.HTML(out.String()), nil
		}
		if err != nil {
			return "", fmt.Errorf("read drawing: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			switch name := t.Name.Local; {
			case name == "svg":
				fmt.Fprintf(&out, `<svg class="%s" viewBox="%s" role="img" aria-label="%s">`,
					template.HTMLEscapeString(class), template.HTMLEscapeString(attribute(t, "viewBox")), template.HTMLEscapeString(label))
			case slices.Contains(drawn, name) && !invisible(t):
				if name == "text" {
					textAt = out.Len()
				}
				writeElement(&out, t)
			default:
				if err := decoder.Skip(); err != nil {
					return "", fmt.Errorf("read drawing: %w", err)
				}
			}
		case xml.EndElement:
			out.WriteString("</" + t.Name.Local + ">")
			textAt = -1
		case xml.CharData:
			switch {
			case textAt < 0:
			case len(bytes.TrimSpace(t)) == 0: // a label left out
				out.Truncate(textAt)
				if err := decoder.Skip(); err != nil {
					return "", fmt.Errorf("read drawing: %w", err)
				}
				textAt = -1
			default:
				template.HTMLEscape(&out, t)
			}
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// invisible finds what the page does without: the background, and the ticks of the axes, one for each thing on it.
func invisible(e xml.StartElement) bool {
	style := attribute(e, "style")
	if strings.Contains(style, "fill:white") && strings.Contains(style, "stroke:none") {
		return true
	}
	if !strings.Contains(style, fmt.Sprintf("stroke:rgb(%d,", inkAxis)) {
		return false
	}
	var x1, y1, x2, y2 float64
	n, _ := fmt.Sscanf(strings.ReplaceAll(attribute(e, "d"), "\n", " "), "M %f %f L %f %f", &x1, &y1, &x2, &y2)
	return n == 4 && math.Abs(x1-x2)+math.Abs(y1-y2) <= tickLength
}

// tickLength is how long the library draws ticks.
const tickLength = 5

// writeElement writes an element with the properties of its style as attributes of their own.
func writeElement(out *bytes.Buffer, e xml.StartElement) {
	out.WriteString("<" + e.Name.Local)
	write := func(name, value string) {
		out.WriteString(" " + name + `="` + template.HTMLEscapeString(value) + `"`)
	}
	for _, a := range e.Attr {
		if slices.Contains(attributes, a.Name.Local) {
			write(a.Name.Local, strings.ReplaceAll(a.Value, "\n", ""))
		}
	}
	for part := range strings.SplitSeq(attribute(e, "style"), ";") {
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
	out.WriteString(">")
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
