-- What a message is counted under, and whether it collects receipts. Of rows of before, which had neither, the second is what
-- the other columns say: wrong for a recalled message that was above the size limit, and for one with nobody to read it.
ALTER TABLE messages
    ADD COLUMN IF NOT EXISTS label LowCardinality(String) COMMENT 'such as a campaign; empty = none' CODEC(ZSTD),
    ADD COLUMN IF NOT EXISTS tracked Bool DEFAULT `group` = '' OR eligible > 0 OR receipt AND recalled COMMENT 'it collects receipts, or did until it was recalled' CODEC(ZSTD)
