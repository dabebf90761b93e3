-- The messages of one sender in one conversation in one hour, added up: what read rates are answered from. Absolute
-- values, with the log position as version; the largest version holds. bins and counts are the times from sending
-- to reading, as in the embedded rollup (projections/distribution.go), so that sumMap adds them up.
CREATE TABLE IF NOT EXISTS cohorts
(
    app       LowCardinality(String)  CODEC(ZSTD),
    hour      DateTime('UTC')         COMMENT 'of sending' CODEC(Delta, ZSTD),
    `group`   String                  COMMENT 'empty for a single chat' CODEC(ZSTD),
    peer      String                  COMMENT 'the receiver in a single chat' CODEC(ZSTD),
    sender    String                  CODEC(ZSTD),
    messages  UInt64                  CODEC(ZSTD),
    eligible  UInt64                  CODEC(ZSTD),
    delivered UInt64                  CODEC(ZSTD),
    read      UInt64                  CODEC(ZSTD),
    recalled  UInt64                  CODEC(ZSTD),
    bins      Array(UInt16)           COMMENT 'bin numbers, ascending' CODEC(ZSTD),
    counts    Array(UInt64)           COMMENT 'reads in each bin' CODEC(ZSTD),
    version   UInt64                  COMMENT 'log position in the partition of the conversation' CODEC(Delta, ZSTD)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
ORDER BY (app, hour, `group`, peer, sender)
SETTINGS index_granularity = 1024
COMMENT 'receiptd: messages by sender, conversation and hour';
