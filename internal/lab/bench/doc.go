// Package bench measures the whole path under load, in one process and one run: the raw broker, the
// log, the folds, the replay, and how long a receipt takes to be visible. Every count is compared
// with what the traffic must lead to; a benchmark with a wrong count fails.
package bench
