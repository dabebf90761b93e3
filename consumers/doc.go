// Package consumers holds the one loop that reads the log: [Follow] hands the entries of a
// partition, decoded, to a [Handler], and deals with everything that can go wrong on the way there.
// [FollowAll] does that for all partitions, and hands over each entry once.
//
// Two folders below it follow the log:
//
//   - projector folds the log into the state that questions are answered from;
//   - analytics folds it for ClickHouse and inserts what came of each event.
//
// The others depend on these:
//
//   - notify reads no log: it passes on what the live fold did to users who are connected, and
//     makes the summary for those who were not;
//   - retention follows nothing: its Trimmer looks now and then which entries everybody has, and
//     lets them leave the log;
//   - internal/fold is a library, a partition's fold with its store, for the two that fold.
//
// A consumer of one's own is a Handler for each partition and the sequence that it has handled,
// kept with what came of it: [Begin] says it, to go on from there.
//
// No consumer imports another one. docs/DESIGN.md#how-to-add-a-consumer says how to add one.
package consumers
