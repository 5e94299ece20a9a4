-- What the relay began with.
CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    component_id TEXT NOT NULL,
    machine TEXT NOT NULL,
    tags TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    label TEXT,
    tags_given INTEGER NOT NULL DEFAULT 0,
    label_given INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL,
    ready INTEGER NOT NULL DEFAULT 0,
    status_seq INTEGER NOT NULL DEFAULT -1,
    instance_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    meta TEXT NOT NULL,
    broadcasts_after INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    gone TEXT,
    gone_at INTEGER
);
CREATE INDEX agents_by_component ON agents (component_id);
CREATE TABLE takeovers (
    agent_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (agent_id, instance_id)
) WITHOUT ROWID;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sender TEXT NOT NULL,
    target TEXT NOT NULL,
    resolved_to TEXT,
    kind TEXT NOT NULL,
    subject TEXT,
    body TEXT NOT NULL,
    payload TEXT NOT NULL,
    claimable INTEGER NOT NULL,
    priority TEXT NOT NULL,
    reply_to INTEGER,
    thread_id INTEGER,
    reply_expected INTEGER NOT NULL,
    attachments TEXT NOT NULL,
    task_id INTEGER,
    finished_by TEXT,
    finished_at INTEGER,
    deleted_at INTEGER,
    created_at INTEGER NOT NULL
);
CREATE INDEX messages_by_target ON messages (target, id);
CREATE INDEX messages_by_resolved ON messages (resolved_to, id) WHERE resolved_to IS NOT NULL;
CREATE INDEX messages_by_task ON messages (task_id) WHERE task_id IS NOT NULL;
CREATE TABLE reads (
    message_id INTEGER NOT NULL REFERENCES messages,
    agent_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (message_id, agent_id)
) WITHOUT ROWID;
CREATE TABLE claims (
    message_id INTEGER PRIMARY KEY REFERENCES messages,
    fence INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    held INTEGER NOT NULL
);
CREATE INDEX claims_by_end ON claims (expires_at) WHERE held;
CREATE INDEX claims_by_agent ON claims (agent_id) WHERE held;
CREATE TABLE deliveries (
    message_id INTEGER NOT NULL REFERENCES messages,
    seq INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (message_id, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX deliveries_once ON deliveries (message_id, agent_id, stage, attempt);
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    target TEXT NOT NULL,
    status TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    agent_id TEXT,
    report TEXT,
    metadata TEXT NOT NULL,
    dedup_key TEXT,
    callback_url TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX tasks_by_dedup ON tasks (dedup_key) WHERE dedup_key IS NOT NULL;
CREATE TABLE commands (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    target TEXT NOT NULL,
    params TEXT NOT NULL,
    status TEXT NOT NULL,
    result TEXT,
    error TEXT,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX commands_waiting ON commands (target, n) WHERE NOT acknowledged;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    data TEXT NOT NULL,
    audience TEXT NOT NULL
);
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    print TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_by_time ON answers (at);
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters VALUES ('event', 0), ('fence', 0);
