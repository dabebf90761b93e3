-- Events that were imported: history of another system, which happened at client_ms and not when the broker took it. happened_at
-- is when an event happened, wherever it comes from; what followed from an imported event happened with it.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS imported Bool COMMENT 'it is history from elsewhere, and happened at client_ms' CODEC(ZSTD),
    ADD COLUMN IF NOT EXISTS happened_at DateTime64(3, 'UTC') ALIAS if(imported, fromUnixTimestamp64Milli(client_ms, 'UTC'), at)
        COMMENT 'when it happened: of imported events the time that they state, of others at',
    MODIFY COLUMN took_ms Int64 ALIAS if(sent_at = 0, 0, greatest(0, dateDiff('ms', sent_at, happened_at)))
        COMMENT 'from sending to delivery or reading',
    MODIFY COLUMN outcome Enum8('applied' = 0, 'duplicate' = 1, 'parked' = 2, 'receipts off' = 4, 'may not ask' = 5, 'receipt not found' = 6,
                    'daily limit' = 7, 'delivery receipts off' = 8, 'no app' = 9, 'no group' = 10, 'not a member' = 11,
                    'message id taken' = 12, 'group id taken' = 13, 'no message' = 14, 'not allowed' = 15, 'group full' = 16,
                    'parked too long' = 17, 'import of a time to come' = 21, 'import out of order' = 22, 'hidden' = 64, 'poison' = 100, 'empty' = 101, 'kept as bytes' = 102)
                                        COMMENT 'what was decided' CODEC(ZSTD)
