// Package oracle is the model the folds are tested against: a plain interpreter of docs/rules.md,
// written from that page alone. It has everything in maps and slices, goes through the rules in the
// order of the page, and has no other aim than to be obviously right; it is slow, unbounded where
// the rules are, and not safe for concurrent use.
//
// Nothing here may be shared with the folds, or a misreading of the rules would be shared too.
// Comments name the section and step of docs/rules.md that a piece of code stands for.
package oracle
