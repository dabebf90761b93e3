// Package events is the vocabulary of receiptd: what can happen to a message on its way to its
// readers, how that is expressed in JSON, in protobuf and in NATS subjects, and how many events are
// encoded as one entry of the log.
//
// It knows nothing of brokers, state or HTTP; everything else imports it.
package events
