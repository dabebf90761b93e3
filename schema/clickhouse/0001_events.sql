-- What happened, in the order of the log: a row for each event of each entry (fact = 0), followed by a row for each
-- further thing that it did (fact = 1, 2, …): the messages that a conversation read read, the receipts that a
-- message met when it was sent. This is the archive: the rows with fact = 0 are all it takes to fold the state again.
--
-- Written in blocks that are a contiguous range of one partition of the log and of one month, each in one insert.
-- Nothing is ever updated. Ids are LowCardinality not because they are few but because the same ones come close together. The window remembers the tokens of the latest inserts, so that a repeated one is none.
CREATE TABLE IF NOT EXISTS events
(
    partition   UInt16                  COMMENT 'of the log' CODEC(ZSTD),
    sequence    UInt64                  COMMENT 'of the log entry in its partition' CODEC(Delta, ZSTD),
    `index`     UInt32                  COMMENT 'of the event in its entry' CODEC(Delta, ZSTD),
    fact        UInt32                  COMMENT '0 = the event itself' CODEC(Delta, ZSTD),
    at          DateTime64(3, 'UTC')    COMMENT 'when the broker took the entry' CODEC(Delta, ZSTD),
    fingerprint UInt64                  COMMENT 'of the entry' CODEC(ZSTD),
    kind        Enum8('none' = 0, 'message.sent' = 1, 'message.delivered' = 2, 'message.read' = 3, 'conversation.read' = 4,
                    'message.recalled' = 5, 'group.created' = 6, 'group.joined' = 7, 'group.left' = 8, 'group.role' = 9,
                    'group.dissolved' = 10, 'app.configured' = 11, 'statistic.seen' = 12)
                                        COMMENT 'what happened; none where there is no event' CODEC(ZSTD),
    outcome     Enum8('applied' = 0, 'duplicate' = 1, 'parked' = 2, 'receipts off' = 4, 'may not ask' = 5, 'receipt not found' = 6,
                    'daily limit' = 7, 'delivery receipts off' = 8, 'no app' = 9, 'no group' = 10, 'not a member' = 11,
                    'message id taken' = 12, 'group id taken' = 13, 'no message' = 14, 'not allowed' = 15, 'group full' = 16,
                    'parked too long' = 17, 'poison' = 100, 'empty' = 101, 'kept as bytes' = 102)
                                        COMMENT 'what was decided' CODEC(ZSTD),
    app         LowCardinality(String)  COMMENT 'org#app' CODEC(ZSTD),
    `group`     LowCardinality(String)  COMMENT 'empty for a single chat' CODEC(ZSTD),
    user        LowCardinality(String)  COMMENT 'who acted' CODEC(ZSTD),
    peer        LowCardinality(String)  COMMENT 'the other user of a single chat' CODEC(ZSTD),
    message     LowCardinality(String)  CODEC(ZSTD),
    content     String                  COMMENT 'text of a receipt; the reason of an entry kept as bytes' CODEC(ZSTD),
    receipt     Bool                    COMMENT 'the sender asked for receipts' CODEC(ZSTD),
    strict      Bool                    CODEC(ZSTD),
    client_ms   Int64                   COMMENT 'when it happened at the client, Unix ms, 0 = not given' CODEC(Delta, ZSTD),
    extra       String                  COMMENT 'JSON: what only rare kinds have; subject and bytes of an entry kept as such' CODEC(ZSTD),
    sender      LowCardinality(String)  COMMENT 'of the message; this and what follows: of applied events only' CODEC(ZSTD),
    sent_at     DateTime64(3, 'UTC')    CODEC(Delta, ZSTD),
    took_ms     Int64                   ALIAS if(sent_at = 0, 0, greatest(0, dateDiff('ms', sent_at, at))) COMMENT 'from sending to delivery or reading',
    eligible    UInt32                  COMMENT 'readers that the message may have' CODEC(ZSTD),
    readers     UInt32                  COMMENT 'readers it has now' CODEC(Delta, ZSTD),

    INDEX at_range at TYPE minmax GRANULARITY 1,
    INDEX of_message message TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (partition, sequence, `index`, fact)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'receiptd: all events, in the order of the log';
