-- What the rules of a later program counted wins over what earlier rules did, at whatever position.
ALTER TABLE group_days COMMENT COLUMN version 'the largest holds: the number of the rules times 2^48, plus the log position in the partition of the group'
