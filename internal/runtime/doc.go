// Package runtime puts the parts together: the log, the projector, the side effects and the edge.
// It is the only package that knows them all.
package runtime
