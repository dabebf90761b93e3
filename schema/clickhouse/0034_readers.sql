-- How many messages somebody could read, and how many they have, in rows to add up: one for each message that they could read,
-- and another one for each that they have. The view recipients puts the two together, which takes many times as long.
CREATE VIEW IF NOT EXISTS readers
(
    app      LowCardinality(String) COMMENT 'org#app',
    `group`  LowCardinality(String) COMMENT 'empty for a single chat',
    sender   LowCardinality(String) COMMENT 'of the message',
    label    LowCardinality(String) COMMENT 'of the message, such as a campaign; empty = none',
    sent_at  DateTime64(3, 'UTC')   COMMENT 'when the message was sent',
    reader   String                 COMMENT 'who could read it, or has',
    messages UInt8                  COMMENT 'to add up: 1 = they could read it',
    read     UInt8                  COMMENT 'to add up: 1 = they have'
) AS
SELECT e.app AS app, e.`group` AS `group`, e.sender AS sender, e.label AS label, e.sent_at AS sent_at, m.user AS reader,
    toUInt8(1) AS messages, toUInt8(0) AS read
FROM
(
    SELECT app, `group`, sender, label, sent_at, (sequence, `index`) AS place
    FROM events
    WHERE kind = 'message.sent' AND outcome = 'applied' AND eligible > 0 AND `group` != ''
        AND (app, `group`, message) NOT IN (SELECT app, `group`, id FROM messages FINAL WHERE recalled)
) AS e
INNER JOIN members AS m ON m.app = e.app AND m.`group` = e.`group`
WHERE m.began < e.place AND e.place < m.ended AND m.user != e.sender
UNION ALL
SELECT app, `group`, sender, label, sent_at, toString(if(kind = 'message.sent', peer, user)) AS reader,
    kind = 'message.sent' AS messages, kind = 'message.read' AS read
FROM events
WHERE outcome = 'applied' AND (kind = 'message.read' OR kind = 'message.sent' AND eligible > 0 AND `group` = '')
    AND (app, `group`, if(`group` = '', if(kind = 'message.sent', peer, user), ''), sender, message) NOT IN
        (SELECT app, `group`, peer, sender, id FROM messages FINAL WHERE recalled)
COMMENT 'receiptd: how many messages somebody could read and has read, in rows to add up'
