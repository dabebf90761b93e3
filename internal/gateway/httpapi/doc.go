// Package httpapi is the HTTP API: it takes events in, answers questions from the projections, and
// tells clients what happens while they listen. schema/openapi.yaml describes it to its users.
//
// It knows who may call what (package gateway has the rules), and nothing else: the rules of
// receipts are decided by the fold. What it needs of the rest of the process it declares as
// interfaces in deps.go.
package httpapi
