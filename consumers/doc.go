// Package consumers holds the one loop that reads the log: [Follow] hands the entries of a
// partition, decoded, to a [Handler], and deals with everything that can go wrong on the way there.
//
// Each folder below it is one consumer:
//
//   - projector folds the log into the state that questions are answered from;
//   - analytics folds it for ClickHouse and inserts what came of each event;
//   - notify passes on what the live fold did to users who are connected, and makes the summary for
//     those who were not;
//   - retention lets entries leave the log once everybody has them.
//
// No consumer imports another one; what several of them need is in internal/fold. How to add one is
// told in docs/DESIGN.md.
package consumers
