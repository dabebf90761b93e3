// Package projector folds the log into the state that questions are answered from. It checkpoints
// the state, rebuilds it beside the live one on demand, and answers the questions of the edges over
// all partitions.
//
// [Projector.Run] is the live fold: what it applies has side effects, by way of an [Audience].
// Nothing else that folds here has any: not a state that is folded again from the start of the log,
// not a rebuild.
package projector
