// Package inbox keeps chat messages until the recipients' devices have taken them: what the SDK gateway needs to carry
// messages to who is not connected. It knows nothing of what is in them.
//
// All inboxes are one JetStream stream with a subject for each user, so that the stream's own limits bound every inbox: messages
// for a user, their age, and the bytes of all. The oldest leave first. Receipts are never in it: what of them an author has not seen is state
// of the folds.
//
// A device takes its messages in the order of the stream and acknowledges by position. A position says "up to here this device
// has everything". Each device has its own, so that every device of a user sees every message. A device that was never seen before starts
// where the user's most advanced device is: what one of them has acknowledged is no news to the user. Positions are written behind, about
// once a second and at Close: a crash in between shows some messages again and loses none.
//
// What comes to an inbox while a device is connected reaches it from one reader that follows the end of the stream for the whole process;
// only what it missed is read from the stream.
package inbox
