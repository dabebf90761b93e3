// Package inbox keeps chat messages until the recipients' devices have taken them: the SDK gateway
// needs it to carry messages to users who are not connected. It does not look into them.
//
// All inboxes are one JetStream stream with a subject for each user, so that the stream's own
// limits bound every inbox: messages for a user, their age, and the bytes of all. The oldest leave
// first. Receipts are never in it: those that an author has not seen are state of the folds.
//
// A device takes its messages in the order of the stream and acknowledges by position. A position
// says "up to here this device has everything". Each device has its own, so that every device of a
// user sees every message. A device that was never seen before starts where the user's most
// advanced device is: what one of them has acknowledged is no news to the user. Positions are
// written behind, about once a second and at Close: a crash in between shows some messages again,
// and loses none.
//
// A connected device gets new messages from one reader, which follows the end of the stream for the
// whole process; only what the device missed is read from the stream for it alone.
package inbox
