-- The hash of the entry in the Merkle tree of its partition, so that the tree can be made again from the archive. It stands
-- in the first row of an entry; rows of before have none.
ALTER TABLE events ADD COLUMN IF NOT EXISTS leaf String COMMENT 'first row of an entry: its hash in the tree of the log' CODEC(ZSTD)
