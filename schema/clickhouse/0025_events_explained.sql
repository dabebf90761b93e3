-- Every column says what it is.
ALTER TABLE events
    COMMENT COLUMN message 'its id',
    COMMENT COLUMN strict 'the receipt was to be refused rather than to wait for its message',
    COMMENT COLUMN sent_at 'when the message was sent'
