-- Every column says what it is.
ALTER TABLE migrations
    COMMENT COLUMN version 'number of the migration',
    COMMENT COLUMN name 'what it does',
    COMMENT COLUMN checksum 'of its text, which does not change',
    COMMENT COLUMN applied_at 'when it was applied'
