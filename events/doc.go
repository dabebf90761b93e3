// Package events is the vocabulary of receiptd: what can happen to a message on its way to its
// readers, how that is said in JSON, protobuf and on subjects, and how many events become one
// entry of the log.
//
// It knows nothing of brokers, state or HTTP; everything else imports it.
package events
