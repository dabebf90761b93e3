-- As before, with what was imported at the time at which it happened.
-- Who read what, without what was recalled and without what is hidden: a row for each read that counts. Receipts of the vendor's
-- kind, reads of whole single chats, and receipts that waited for their message are all in it.
CREATE OR REPLACE VIEW reads
(
    app     LowCardinality(String) COMMENT 'org#app',
    `group` LowCardinality(String) COMMENT 'empty for a single chat',
    message LowCardinality(String) COMMENT 'its id',
    sender  LowCardinality(String) COMMENT 'of the message',
    label   LowCardinality(String) COMMENT 'of the message, such as a campaign; empty = none',
    sent_at DateTime64(3, 'UTC')   COMMENT 'when the message was sent',
    reader  LowCardinality(String) COMMENT 'who read it',
    read_at DateTime64(3, 'UTC')   COMMENT 'when',
    took_ms Int64                  COMMENT 'from sending to reading',
    content String                 COMMENT 'text of the receipt'
) AS
SELECT app, `group`, message, sender, label, sent_at, user AS reader, greatest(happened_at, sent_at) AS read_at, took_ms, content
FROM events
WHERE kind = 'message.read' AND outcome = 'applied'
    AND (app, `group`, if(`group` = '', user, ''), sender, message) NOT IN
        (SELECT app, `group`, peer, sender, id FROM messages FINAL WHERE recalled)
COMMENT 'receiptd: each read that counts, of messages that were not recalled'
