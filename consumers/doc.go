// Package consumers holds what reads the log, and what follows from it: the projector that folds it into
// state, the rebuild that folds it again and compares, and the side effects, which only ever follow the
// live fold: notify tells who is online, statistic keeps for who is not.
package consumers
