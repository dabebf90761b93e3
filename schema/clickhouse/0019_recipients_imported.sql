-- As before, with what was imported at the time at which it happened.
-- Who could read what, and whether they did: a row for each eligible reader of each message that collects receipts and was not
-- recalled.
CREATE OR REPLACE VIEW recipients
(
    app          LowCardinality(String)         COMMENT 'org#app',
    `group`      LowCardinality(String)         COMMENT 'empty for a single chat',
    message      LowCardinality(String)         COMMENT 'its id',
    sender       LowCardinality(String)         COMMENT 'of the message',
    label        LowCardinality(String)         COMMENT 'of the message, such as a campaign; empty = none',
    sent_at      DateTime64(3, 'UTC')           COMMENT 'when the message was sent',
    recipient    String                         COMMENT 'who could read it: a member of the group when it was sent, or the other user',
    delivered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when its delivery was reported, in single chats; NULL = it was not',
    read_at      Nullable(DateTime64(3, 'UTC')) COMMENT 'when they read it; NULL = they have not, or hide it',
    took_ms      Nullable(Int64)                COMMENT 'from sending to reading; NULL as well'
) AS
SELECT app, `group`, message, sender, label, sent_at, recipient,
    if(max(delivered) = 0, NULL, fromUnixTimestamp64Milli(max(delivered), 'UTC')) AS delivered_at,
    if(max(read) = 0, NULL, fromUnixTimestamp64Milli(max(read), 'UTC')) AS read_at,
    if(max(read) = 0, NULL, greatest(0, max(read) - toUnixTimestamp64Milli(sent_at))) AS took_ms
FROM
(
    SELECT e.app AS app, e.`group` AS `group`, e.message AS message, e.sender AS sender, e.label AS label, e.sent_at AS sent_at, m.user AS recipient,
        toInt64(0) AS delivered, toInt64(0) AS read
    FROM
    (
        SELECT app, `group`, message, sender, label, sent_at, (sequence, `index`) AS place
        FROM events
        WHERE kind = 'message.sent' AND outcome = 'applied' AND eligible > 0 AND `group` != ''
    ) AS e
    INNER JOIN members AS m ON m.app = e.app AND m.`group` = e.`group`
    WHERE m.began < e.place AND e.place < m.ended AND m.user != e.sender
    UNION ALL
    SELECT app, `group`, message, sender, label, sent_at,
        toString(if(kind = 'message.sent', peer, user)) AS recipient,
        if(kind = 'message.delivered', toUnixTimestamp64Milli(greatest(happened_at, sent_at)), 0) AS delivered,
        if(kind = 'message.read', toUnixTimestamp64Milli(greatest(happened_at, sent_at)), 0) AS read
    FROM events
    WHERE outcome = 'applied' AND (kind IN ('message.delivered', 'message.read') OR kind = 'message.sent' AND eligible > 0 AND `group` = '')
)
WHERE (app, `group`, if(`group` = '', recipient, ''), sender, message) NOT IN
    (SELECT app, `group`, peer, sender, id FROM messages FINAL WHERE recalled)
GROUP BY app, `group`, message, sender, label, sent_at, recipient
COMMENT 'receiptd: each who could read a message, with when they did'
