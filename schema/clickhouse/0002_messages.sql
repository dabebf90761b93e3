-- The latest numbers of each message. A row is written whenever they changed, with the log position as its version;
-- the largest version holds. Ask with FINAL.
CREATE TABLE IF NOT EXISTS messages
(
    app           LowCardinality(String)  CODEC(ZSTD),
    `group`       String                  COMMENT 'empty for a single chat' CODEC(ZSTD),
    peer          String                  COMMENT 'the receiver in a single chat' CODEC(ZSTD),
    id            String                  CODEC(ZSTD),
    sender        String                  CODEC(ZSTD),
    sent_at       DateTime64(3, 'UTC')    CODEC(Delta, ZSTD),
    receipt       Bool                    COMMENT 'the sender asked for receipts' CODEC(ZSTD),
    recalled      Bool                    CODEC(ZSTD),
    eligible      UInt32                  CODEC(ZSTD),
    delivered     UInt32                  CODEC(ZSTD),
    read          UInt32                  CODEC(ZSTD),
    first_read_at DateTime64(3, 'UTC')    COMMENT '1970 = never' CODEC(Delta, ZSTD),
    last_read_at  DateTime64(3, 'UTC')    COMMENT '1970 = never' CODEC(Delta, ZSTD),
    version       UInt64                  COMMENT 'log position in the partition of the conversation' CODEC(Delta, ZSTD)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(sent_at)
ORDER BY (app, `group`, peer, id)
COMMENT 'receiptd: the latest numbers of each message';
