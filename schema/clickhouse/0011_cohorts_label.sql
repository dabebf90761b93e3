-- Messages of one sender, conversation and hour with different labels are different cohorts.
ALTER TABLE cohorts
    ADD COLUMN IF NOT EXISTS label String COMMENT 'of all the messages, such as a campaign; empty = none' CODEC(ZSTD),
    MODIFY ORDER BY (app, hour, `group`, peer, sender, label)
