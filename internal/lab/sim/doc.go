// Package sim makes traffic for benchmarks and for tests under load: an endless stream of events
// shaped like that of a real chat service, reproducible from a seed, that knows at any time which
// read sets it must have led to. [New] plans the groups and users, [Traffic.Generators] makes the
// streams.
package sim
