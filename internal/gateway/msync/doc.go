// Package msync speaks MSYNC, the protocol of the Easemob web SDK, over WebSocket: it is how the
// unmodified SDK sends and takes chat messages and receipts. What follows is the protocol as this
// package speaks it; its schema is schema/msync.proto.
//
// # Frames
//
// One binary WebSocket message is one Frame, uncompressed and unencrypted. The client's first frame
// is PROVISION: who it is, with a token. The answer says OK and echoes the device, or says why not
// and closes. All later frames belong to the user of that token; names in them are only claims, and
// are replaced.
//
// # Sending
//
// A client sends a Meta with an id of its own, and gets exactly one answer with that id: OK, or
// FAIL and the reason. A Meta becomes an event of the log, and the answer is what the fold decided:
//
//	Body.type      event               OK means
//	CHAT           message.sent        durable, decided, and in the inboxes of the recipients
//	GROUPCHAT      message.sent        the same; config.allow_group_ack asks for receipts
//	READ_ACK       message.read        durable and decided (strict: an unknown message is not waited for)
//	DELIVER_ACK    message.delivered   durable; a rejection is not told, since the SDK sends these unasked and handles no error
//	CHANNEL_ACK    conversation.read   durable and decided
//	RECALL         message.recalled    durable, decided, and in the inboxes
//
// A crash after the event was stored and before the inboxes were leaves a message that is known but
// never arrives; its sender got no answer, and sends it again as a new one. A command, which is a
// CHAT or GROUPCHAT with content of type COMMAND, is no event: it is never read, and only passed
// on.
//
// The SDK turns FAIL into error 503 with the reason, or into another error by the text of the
// reason. PERMISSION_DENIED is only used with the two reasons that the SDK knows; with any other it
// would leave its caller waiting for ever.
//
// # The queue
//
// A client has one queue, from which it takes messages, receipts and the summary in pages. At any
// time at most one page is under way:
//
//	server                               client
//	page: metas, next_key K       ──►    hands the metas out
//	                              ◄──    pull with key K: acknowledges the page
//	page, or is_last without metas ──►
//
// A page is pushed as soon as there is something to send and no page is under way; while one is,
// receipts go on merging and messages wait in the inbox, so a slow client costs no memory. A pull
// without a key asks again for what is not acknowledged. UNREAD, sent after login and as a
// heartbeat, is answered with the queue if anything waits in it, whatever was pushed before: this
// makes up for anything that was lost.
//
// A key is an inbox position and a number that differs from page to page, across connections too:
// the SDK ignores a page with the key of the last one. Right after PROVISION an empty last page is
// pushed; it ends a pull of the connection before, for which the SDK would go on waiting.
//
// # Receipts
//
// A receipt for an author who is connected comes from their [notify.Subscription] and is pushed
// as a Meta of its own. What they have not acknowledged is state of the folds: at login it is read
// from there, group reads as one statistic. Acknowledging a page appends statistic.seen with the
// positions the page stood for, gathered for about a second. So a receipt may be shown twice and is
// never lost. The id of a receipt is made from what it says, and the SDK drops an id that it saw
// not long ago.
package msync
