-- Every column says what it is.
ALTER TABLE messages
    COMMENT COLUMN app 'org#app',
    COMMENT COLUMN id 'of the message',
    COMMENT COLUMN sender 'who sent it',
    COMMENT COLUMN sent_at 'when',
    COMMENT COLUMN recalled 'it was recalled, and is in no sum',
    COMMENT COLUMN eligible 'readers that it may have',
    COMMENT COLUMN delivered 'to so many of them; of groups what was read',
    COMMENT COLUMN read 'by so many of them'
