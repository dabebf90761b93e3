-- Every column says what it is.
ALTER TABLE group_days
    COMMENT COLUMN app 'org#app',
    COMMENT COLUMN `group` 'they were sent in',
    COMMENT COLUMN messages 'that collect receipts and were not recalled',
    COMMENT COLUMN eligible 'readers that these may have, together',
    COMMENT COLUMN delivered 'to so many of them; of groups what was read',
    COMMENT COLUMN read 'by so many of them',
    COMMENT COLUMN recalled 'messages that collected receipts and were recalled: in no other number'
