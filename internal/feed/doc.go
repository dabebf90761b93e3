// Package feed tells the users who are online at a node of receipts in partitions that the node
// does not serve: another node's fold makes the effects, and hands them over.
//
// A feed is of one partition, and for the users that one node names. The node asks for what came
// after an entry; the answer has the effects of the entries from there on, and up to which entry
// they are complete. So one number says what was told, and it is with the node that tells: what is
// repeated, or comes again from another fold, is dropped by it, and what a fold lacks is seen. That
// is looked for in the summaries of those who are online ([Hub.Missed]).
package feed
