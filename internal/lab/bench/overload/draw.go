package overload

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/receiptd/receiptd/internal/lab/bench/drawing"
	"github.com/receiptd/receiptd/internal/progress"
)

// SVG draws the events that were accepted a second by the number of connections, with a line for
// each size of a request and number of tenants. What has no point for some number of connections
// is left out; the error says if that is everything.
func (r *Result) SVG() ([]byte, error) {
	l := drawing.Lines{
		Title:    "Accepted under overload",
		Subtitle: "receiptd over HTTP, server and clients on the same processors; clients send as fast as they are answered",
		X:        "connections",
		Y:        "events a second",
		Label:    progress.Count,
	}
	var connections []int
	goodput := map[Cell]float64{}
	var kinds []Cell
	for _, row := range r.Rows {
		goodput[row.Cell] = row.Goodput
		if !slices.Contains(connections, row.Connections) {
			connections = append(connections, row.Connections)
		}
		if kind := (Cell{Batch: row.Batch, Tenants: row.Tenants}); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(connections)
	for _, n := range connections {
		l.Steps = append(l.Steps, strconv.Itoa(n))
	}
	for _, kind := range kinds {
		s := drawing.Series{Name: fmt.Sprintf("%d a request, tenants: %d", kind.Batch, kind.Tenants)}
		for _, n := range connections {
			kind.Connections = n
			if rate := goodput[kind]; rate > 0 {
				s.Values = append(s.Values, rate)
			}
		}
		if len(s.Values) == len(connections) {
			l.Series = append(l.Series, s)
		}
	}
	if len(l.Series) == 0 {
		return nil, errors.New("overload: no kind of request was measured with every number of connections")
	}
	return l.SVG()
}
