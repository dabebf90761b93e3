// Package events is the vocabulary of receiptd: what can happen to a message on its way to its
// readers, how that is expressed in JSON, in protobuf and in NATS subjects, and how many events are
// encoded as one entry of the log.
//
// It knows nothing of brokers, state or HTTP; everything else imports it.
//
// Where to begin: an [Event] is one thing that happened, and its [Kind] says which fields it uses.
// [Decoder] reads events as the HTTP API takes them. A [Builder] makes an entry of many and a
// [Batch] reads it, in columns; which partition of a log that is for, [Partition] says. Package
// eventlog does all of this for whoever only wants to store events, and for a program that talks to
// a running server there is schema/client, which needs none of it.
package events
