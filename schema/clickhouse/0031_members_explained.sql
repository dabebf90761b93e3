-- Every column says what it is.
ALTER TABLE members
    COMMENT COLUMN `group` 'its id',
    COMMENT COLUMN user 'who was in it'
