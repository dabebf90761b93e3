-- A single chat is named by both of its users: messages of two chats may have one receiver and one id.
ALTER TABLE messages
    ADD COLUMN IF NOT EXISTS chat_sender String COMMENT 'the sender in a single chat, empty for a group; what sender says, as a part of the key' CODEC(ZSTD),
    MODIFY ORDER BY (app, `group`, peer, id, chat_sender)
