// Package inbox keeps chat messages until the recipients' devices have taken them: the SDK gateway
// needs it to carry messages to users who are not connected. It does not look into them.
//
// Each app has a JetStream stream of its own, so that its limits, bytes and age, are its own too:
// whatever the users of one app do, the messages of another one stay. In the stream a message's
// body lies once, under its sender and conversation; each recipient has a reference to it, under
// recipient and sender. A message that is small with all its copies lies in the inboxes themselves,
// since a reference would take as much. The server bounds what each sender has in each inbox, and
// the oldest leave first; when an app's stream is nearly full, its largest sender makes room (see
// makeRoom). Receipts are never in it: those that an author has not seen are state of the folds.
//
// A device takes its messages in the order of the stream and acknowledges by position. A position
// says "up to here this device has everything". Each device has its own, so that every device of a
// user sees every message. A device that was never seen before starts where the user's most
// advanced device is: what one of them has acknowledged is no news to the user. Positions are
// written in the background, about once a second and at Close: a crash in between shows some
// messages again, and loses none.
//
// A connected device gets new messages from one reader, which follows the end of the app's stream
// for the whole process; only what the device missed is read from the stream for it alone.
//
// Up to version 1 all inboxes were one stream with a copy for each recipient. One that is there is
// read and never written: the streams of the apps begin with the sequence after its last one, so
// that positions name a place in either.
package inbox
