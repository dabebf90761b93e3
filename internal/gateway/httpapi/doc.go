// Package gateway is the HTTP edge: it takes events in, answers questions from the projections, and
// tells clients what happens while they listen. schema/openapi.yaml describes it to its users.
//
// It decides who may call what, and nothing else: the rules of receipts are decided by the fold. What it needs of
// the rest of the process it declares as interfaces in deps.go.
package gateway
