-- Who is at work: what a process that is gone had in hand is taken up by others.
CREATE TABLE replicas (
    id TEXT PRIMARY KEY,
    seen_at REAL NOT NULL
) WITHOUT ROWID;

-- What keys may do, and how many runs they started on a day.
ALTER TABLE api_keys ADD COLUMN scope TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE api_keys ADD COLUMN nodes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_keys ADD COLUMN runs_per_day INTEGER;
CREATE TABLE key_usage (
    key_id TEXT NOT NULL,
    day TEXT NOT NULL,
    runs INTEGER NOT NULL,
    PRIMARY KEY (key_id, day)
) WITHOUT ROWID;

-- Each idempotency key says itself how long it holds.
ALTER TABLE idempotency_keys ADD COLUMN expires_at REAL NOT NULL DEFAULT 0;
UPDATE idempotency_keys SET expires_at = created_at + 604800;
DROP INDEX idempotency_age;
CREATE INDEX idempotency_expiry ON idempotency_keys (expires_at);
CREATE INDEX idempotency_run ON idempotency_keys (run_id);
