-- What a message is counted under: in the row of what was sent and of all that became of it. A label that is not counted is in
-- the column extra.
-- Few rows are about groups: most granules are passed over by who asks for these.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS label LowCardinality(String) COMMENT 'of the message, such as a campaign; empty = none' CODEC(ZSTD),
    ADD INDEX IF NOT EXISTS of_kind kind TYPE set(16) GRANULARITY 1
