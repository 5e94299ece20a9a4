-- Reactions, and what finds the replies to a message and those that are still owed.
CREATE TABLE reactions (
    message_id INTEGER NOT NULL REFERENCES messages,
    agent_id TEXT NOT NULL,
    emoji TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (message_id, agent_id, emoji)
) WITHOUT ROWID;
CREATE INDEX messages_by_thread ON messages (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX messages_by_reply ON messages (reply_to, sender) WHERE reply_to IS NOT NULL;
CREATE INDEX messages_to_be_replied ON messages (id) WHERE reply_expected;
-- Artifacts: the bytes are files, named by their SHA-256.
CREATE TABLE artifacts (
    id TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX artifacts_by_content ON artifacts (sha256);
CREATE INDEX artifacts_by_time ON artifacts (created_at);
CREATE TABLE attached (
    message_id INTEGER NOT NULL REFERENCES messages,
    artifact_id TEXT NOT NULL,
    PRIMARY KEY (message_id, artifact_id)
) WITHOUT ROWID;
CREATE INDEX attached_by_artifact ON attached (artifact_id);
-- What is old enough to go.
CREATE INDEX messages_by_time ON messages (created_at);
CREATE INDEX commands_by_time ON commands (updated_at);
CREATE INDEX tasks_by_time ON tasks (updated_at);
