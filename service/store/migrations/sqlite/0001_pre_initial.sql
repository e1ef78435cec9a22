-- Hot columns are for sweeps and lists; `doc` holds the whole run. Inputs may be large and are written once.
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    node TEXT NOT NULL,
    lane TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'submitting', 'running', 'submit_unknown',
                                         'succeeded', 'failed', 'canceled', 'timed_out')),
    reference TEXT,
    group_id TEXT,
    callback_token TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    due_at REAL,
    deadline_at REAL,
    leased_by TEXT,
    version INTEGER NOT NULL DEFAULT 1,
    doc TEXT NOT NULL,
    CHECK (deadline_at IS NOT NULL OR state IN ('succeeded', 'failed', 'canceled', 'timed_out'))
);
CREATE INDEX runs_due ON runs (state, due_at, lane) WHERE due_at IS NOT NULL;
CREATE INDEX runs_deadline ON runs (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX runs_parked ON runs (lane) WHERE state = 'running' AND due_at IS NULL;
CREATE INDEX runs_workspace ON runs (workspace, id);

CREATE TABLE run_inputs (
    run_id TEXT PRIMARY KEY,
    input BLOB NOT NULL
);

CREATE TABLE events (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    run_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    type TEXT NOT NULL,
    created_at REAL NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (run_id, sequence)
);

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    event_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    url TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL,
    leased_by TEXT
);
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE timeline (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX timeline_run ON timeline (run_id, id);

CREATE TABLE callbacks (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    received_at REAL NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX callbacks_run ON callbacks (run_id, id);

CREATE TABLE idempotency_keys (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    run_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    workspace TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    hint TEXT NOT NULL,
    created_at REAL NOT NULL,
    revoked_at REAL
) WITHOUT ROWID;

CREATE TABLE files (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    mime TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX files_expired ON files (expires_at);
