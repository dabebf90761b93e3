-- The messages of one hour in one partition of the log, added up: the cohorts of the hour in one row, for questions that
-- name neither a conversation nor a sender.
CREATE TABLE IF NOT EXISTS hours
(
    app       LowCardinality(String)  CODEC(ZSTD),
    hour      DateTime('UTC')         COMMENT 'of sending' CODEC(Delta, ZSTD),
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
PARTITION BY toYYYYMM(hour)
ORDER BY (app, hour, partition)
COMMENT 'receiptd: messages by hour';
