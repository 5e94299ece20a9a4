-- Runtime tokens. Only the SHA-256 of a token is kept; with the secret alone none can be made.
CREATE TABLE tokens (
    jti TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    profile_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tokens_by_end ON tokens (expires_at);
CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
