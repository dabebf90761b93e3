-- The messages of one group on one day, added up: what read rates by group are answered from for the whole days of a span.
-- Single chats are in none of them.
CREATE TABLE IF NOT EXISTS group_days
(
    app       LowCardinality(String)  CODEC(ZSTD),
    day       DateTime('UTC')         COMMENT 'of sending, its first second' CODEC(Delta, ZSTD),
    `group`   String                  CODEC(ZSTD),
    messages  UInt64                  CODEC(ZSTD),
    eligible  UInt64                  CODEC(ZSTD),
    delivered UInt64                  CODEC(ZSTD),
    read      UInt64                  CODEC(ZSTD),
    recalled  UInt64                  CODEC(ZSTD),
    bins      Array(UInt16)           COMMENT 'bin numbers, ascending' CODEC(ZSTD),
    counts    Array(UInt64)           COMMENT 'reads in each bin' CODEC(ZSTD),
    version   UInt64                  COMMENT 'log position in the partition of the group' CODEC(Delta, ZSTD)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (app, day, `group`)
SETTINGS index_granularity = 1024
COMMENT 'receiptd: messages by group and day';
