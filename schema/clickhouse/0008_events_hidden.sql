-- What users set about their receipts, marks, and receipts that are hidden: nobody is told of these, so a count of reads
-- asks for outcome = 'applied'.
ALTER TABLE events
    MODIFY COLUMN kind Enum8('none' = 0, 'message.sent' = 1, 'message.delivered' = 2, 'message.read' = 3, 'conversation.read' = 4,
                    'message.recalled' = 5, 'group.created' = 6, 'group.joined' = 7, 'group.left' = 8, 'group.role' = 9,
                    'group.dissolved' = 10, 'app.configured' = 11, 'statistic.seen' = 12, 'user.configured' = 13,
                    'conversation.marked_unread' = 14)
                                        COMMENT 'what happened; none where there is no event' CODEC(ZSTD),
    MODIFY COLUMN outcome Enum8('applied' = 0, 'duplicate' = 1, 'parked' = 2, 'receipts off' = 4, 'may not ask' = 5, 'receipt not found' = 6,
                    'daily limit' = 7, 'delivery receipts off' = 8, 'no app' = 9, 'no group' = 10, 'not a member' = 11,
                    'message id taken' = 12, 'group id taken' = 13, 'no message' = 14, 'not allowed' = 15, 'group full' = 16,
                    'parked too long' = 17, 'hidden' = 64, 'poison' = 100, 'empty' = 101, 'kept as bytes' = 102)
                                        COMMENT 'what was decided' CODEC(ZSTD)
