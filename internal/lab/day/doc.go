// Package day makes up a believable day of a few chat apps and pours it into a running server
// through its public API: groups of all sizes, quiet nights and busy noons, bursts, quick and late
// readers, some who never read and some who hide it, recalls, receipts that come twice or too
// early. It is for looking at, not for measuring: package sim has traffic whose counts are known.
package day
