-- The messages of one sender on one day in one partition of the log, added up, those in groups and in single chats: what read
-- rates by sender are answered from for the whole days of a span.
CREATE TABLE IF NOT EXISTS sender_days
(
    app       LowCardinality(String)  CODEC(ZSTD),
    day       DateTime('UTC')         COMMENT 'of sending, its first second' CODEC(Delta, ZSTD),
    sender    String                  CODEC(ZSTD),
    partition UInt16                  COMMENT 'of the log' CODEC(ZSTD),
    messages  UInt64                  CODEC(ZSTD),
    eligible  UInt64                  CODEC(ZSTD),
    delivered UInt64                  CODEC(ZSTD),
    read      UInt64                  CODEC(ZSTD),
    recalled  UInt64                  CODEC(ZSTD),
    bins      Array(UInt16)           COMMENT 'bin numbers, ascending' CODEC(ZSTD),
    counts    Array(UInt64)           COMMENT 'reads in each bin' CODEC(ZSTD),
    version   UInt64                  COMMENT 'log position in the partition' CODEC(Delta, ZSTD)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (app, day, sender, partition)
SETTINGS index_granularity = 1024
COMMENT 'receiptd: messages by sender and day';
