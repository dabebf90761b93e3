// Package ingest is what every door for events has in common, whatever protocol it speaks: the
// encodings of a body, the ids that a request gives its events, what is answered about events that
// are taken, and the words in which the others are refused.
package ingest
