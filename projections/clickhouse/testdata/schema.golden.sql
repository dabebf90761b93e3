CREATE TABLE receiptd.events
(
    `partition` UInt16 COMMENT 'of the log' CODEC(ZSTD(1)),
    `sequence` UInt64 COMMENT 'of the log entry in its partition' CODEC(Delta(8), ZSTD(1)),
    `index` UInt32 COMMENT 'of the event in its entry' CODEC(Delta(4), ZSTD(1)),
    `fact` UInt32 COMMENT '0 = the event itself' CODEC(Delta(4), ZSTD(1)),
    `at` DateTime64(3, 'UTC') COMMENT 'when the broker took the entry' CODEC(Delta(8), ZSTD(1)),
    `fingerprint` UInt64 COMMENT 'of the entry' CODEC(ZSTD(1)),
    `kind` Enum8('none' = 0, 'message.sent' = 1, 'message.delivered' = 2, 'message.read' = 3, 'conversation.read' = 4, 'message.recalled' = 5, 'group.created' = 6, 'group.joined' = 7, 'group.left' = 8, 'group.role' = 9, 'group.dissolved' = 10, 'app.configured' = 11, 'statistic.seen' = 12, 'user.configured' = 13, 'conversation.marked_unread' = 14) COMMENT 'what happened; none where there is no event' CODEC(ZSTD(1)),
    `outcome` Enum8('applied' = 0, 'duplicate' = 1, 'parked' = 2, 'receipts off' = 4, 'may not ask' = 5, 'receipt not found' = 6, 'daily limit' = 7, 'delivery receipts off' = 8, 'no app' = 9, 'no group' = 10, 'not a member' = 11, 'message id taken' = 12, 'group id taken' = 13, 'no message' = 14, 'not allowed' = 15, 'group full' = 16, 'parked too long' = 17, 'hidden' = 64, 'poison' = 100, 'empty' = 101, 'kept as bytes' = 102) COMMENT 'what was decided' CODEC(ZSTD(1)),
    `app` LowCardinality(String) COMMENT 'org#app' CODEC(ZSTD(1)),
    `group` LowCardinality(String) COMMENT 'empty for a single chat' CODEC(ZSTD(1)),
    `user` LowCardinality(String) COMMENT 'who acted' CODEC(ZSTD(1)),
    `peer` LowCardinality(String) COMMENT 'the other user of a single chat' CODEC(ZSTD(1)),
    `message` LowCardinality(String) CODEC(ZSTD(1)),
    `content` String COMMENT 'text of a receipt; the reason of an entry kept as bytes' CODEC(ZSTD(1)),
    `receipt` Bool COMMENT 'the sender asked for receipts' CODEC(ZSTD(1)),
    `strict` Bool CODEC(ZSTD(1)),
    `client_ms` Int64 COMMENT 'when it happened at the client, Unix ms, 0 = not given' CODEC(Delta(8), ZSTD(1)),
    `extra` String COMMENT 'JSON: what only rare kinds have; subject and bytes of an entry kept as such' CODEC(ZSTD(1)),
    `sender` LowCardinality(String) COMMENT 'of the message; this and what follows: of applied events only' CODEC(ZSTD(1)),
    `sent_at` DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `took_ms` Int64 ALIAS if(sent_at = 0, 0, greatest(0, dateDiff('ms', sent_at, at))) COMMENT 'from sending to delivery or reading',
    `eligible` UInt32 COMMENT 'readers that the message may have' CODEC(ZSTD(1)),
    `readers` UInt32 COMMENT 'readers it has now' CODEC(Delta(4), ZSTD(1)),
    `leaf` String COMMENT 'first row of an entry: its hash in the tree of the log' CODEC(ZSTD(1)),
    INDEX at_range at TYPE minmax GRANULARITY 1,
    INDEX of_message message TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (partition, sequence, index, fact)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192
COMMENT 'receiptd: all events, in the order of the log';

CREATE TABLE receiptd.messages
(
    `app` LowCardinality(String) CODEC(ZSTD(1)),
    `group` String COMMENT 'empty for a single chat' CODEC(ZSTD(1)),
    `peer` String COMMENT 'the receiver in a single chat' CODEC(ZSTD(1)),
    `id` String CODEC(ZSTD(1)),
    `sender` String CODEC(ZSTD(1)),
    `sent_at` DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `receipt` Bool COMMENT 'the sender asked for receipts' CODEC(ZSTD(1)),
    `recalled` Bool CODEC(ZSTD(1)),
    `eligible` UInt32 CODEC(ZSTD(1)),
    `delivered` UInt32 CODEC(ZSTD(1)),
    `read` UInt32 CODEC(ZSTD(1)),
    `first_read_at` DateTime64(3, 'UTC') COMMENT '1970 = never' CODEC(Delta(8), ZSTD(1)),
    `last_read_at` DateTime64(3, 'UTC') COMMENT '1970 = never' CODEC(Delta(8), ZSTD(1)),
    `version` UInt64 COMMENT 'log position in the partition of the conversation' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(sent_at)
ORDER BY (app, group, peer, id)
SETTINGS index_granularity = 8192
COMMENT 'receiptd: the latest numbers of each message';

CREATE TABLE receiptd.cohorts
(
    `app` LowCardinality(String) CODEC(ZSTD(1)),
    `hour` DateTime('UTC') COMMENT 'of sending' CODEC(Delta(4), ZSTD(1)),
    `group` String COMMENT 'empty for a single chat' CODEC(ZSTD(1)),
    `peer` String COMMENT 'the receiver in a single chat' CODEC(ZSTD(1)),
    `sender` String CODEC(ZSTD(1)),
    `messages` UInt64 CODEC(ZSTD(1)),
    `eligible` UInt64 CODEC(ZSTD(1)),
    `delivered` UInt64 CODEC(ZSTD(1)),
    `read` UInt64 CODEC(ZSTD(1)),
    `recalled` UInt64 CODEC(ZSTD(1)),
    `bins` Array(UInt16) COMMENT 'bin numbers, ascending' CODEC(ZSTD(1)),
    `counts` Array(UInt64) COMMENT 'reads in each bin' CODEC(ZSTD(1)),
    `version` UInt64 COMMENT 'log position in the partition of the conversation' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
ORDER BY (app, hour, group, peer, sender)
SETTINGS index_granularity = 1024
COMMENT 'receiptd: messages by sender, conversation and hour';

CREATE TABLE receiptd.hours
(
    `app` LowCardinality(String) CODEC(ZSTD(1)),
    `hour` DateTime('UTC') COMMENT 'of sending' CODEC(Delta(4), ZSTD(1)),
    `partition` UInt16 COMMENT 'of the log' CODEC(ZSTD(1)),
    `messages` UInt64 CODEC(ZSTD(1)),
    `eligible` UInt64 CODEC(ZSTD(1)),
    `delivered` UInt64 CODEC(ZSTD(1)),
    `read` UInt64 CODEC(ZSTD(1)),
    `recalled` UInt64 CODEC(ZSTD(1)),
    `bins` Array(UInt16) COMMENT 'bin numbers, ascending' CODEC(ZSTD(1)),
    `counts` Array(UInt64) COMMENT 'reads in each bin' CODEC(ZSTD(1)),
    `version` UInt64 COMMENT 'log position in the partition' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
ORDER BY (app, hour, partition)
SETTINGS index_granularity = 8192
COMMENT 'receiptd: messages by hour';

CREATE TABLE receiptd.group_days
(
    `app` LowCardinality(String) CODEC(ZSTD(1)),
    `day` DateTime('UTC') COMMENT 'of sending, its first second' CODEC(Delta(4), ZSTD(1)),
    `group` String CODEC(ZSTD(1)),
    `messages` UInt64 CODEC(ZSTD(1)),
    `eligible` UInt64 CODEC(ZSTD(1)),
    `delivered` UInt64 CODEC(ZSTD(1)),
    `read` UInt64 CODEC(ZSTD(1)),
    `recalled` UInt64 CODEC(ZSTD(1)),
    `bins` Array(UInt16) COMMENT 'bin numbers, ascending' CODEC(ZSTD(1)),
    `counts` Array(UInt64) COMMENT 'reads in each bin' CODEC(ZSTD(1)),
    `version` UInt64 COMMENT 'log position in the partition of the group' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (app, day, group)
SETTINGS index_granularity = 1024
COMMENT 'receiptd: messages by group and day';

CREATE TABLE receiptd.sender_days
(
    `app` LowCardinality(String) CODEC(ZSTD(1)),
    `day` DateTime('UTC') COMMENT 'of sending, its first second' CODEC(Delta(4), ZSTD(1)),
    `sender` String CODEC(ZSTD(1)),
    `partition` UInt16 COMMENT 'of the log' CODEC(ZSTD(1)),
    `messages` UInt64 CODEC(ZSTD(1)),
    `eligible` UInt64 CODEC(ZSTD(1)),
    `delivered` UInt64 CODEC(ZSTD(1)),
    `read` UInt64 CODEC(ZSTD(1)),
    `recalled` UInt64 CODEC(ZSTD(1)),
    `bins` Array(UInt16) COMMENT 'bin numbers, ascending' CODEC(ZSTD(1)),
    `counts` Array(UInt64) COMMENT 'reads in each bin' CODEC(ZSTD(1)),
    `version` UInt64 COMMENT 'log position in the partition' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (app, day, sender, partition)
SETTINGS index_granularity = 1024
COMMENT 'receiptd: messages by sender and day';

CREATE TABLE receiptd.migrations
(
    `version` UInt32,
    `name` String,
    `checksum` String,
    `applied_at` DateTime DEFAULT now()
)
ENGINE = MergeTree
ORDER BY version
SETTINGS index_granularity = 8192
COMMENT 'receiptd: the migrations that were applied';

