-- Hot columns are for sweeps and lists; `doc` holds the whole run. Inputs may be large and are written once.
-- Runs and deliveries are rewritten often: room in their pages and an eager vacuum keep them short.
CREATE TABLE runs (
    id text COLLATE "C" PRIMARY KEY,
    workspace text NOT NULL,
    node text NOT NULL,
    lane text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'submitting', 'running', 'submit_unknown',
                                         'succeeded', 'failed', 'canceled', 'timed_out')),
    reference text,
    group_id text,
    callback_token text NOT NULL UNIQUE,
    created_at float8 NOT NULL,
    due_at float8,
    deadline_at float8,
    leased_by text,
    version integer NOT NULL DEFAULT 1,
    doc text NOT NULL,
    CHECK (deadline_at IS NOT NULL OR state IN ('succeeded', 'failed', 'canceled', 'timed_out'))
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX runs_due ON runs (state, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_deadline ON runs (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX runs_parked ON runs (lane) WHERE state = 'running' AND due_at IS NULL;
CREATE INDEX runs_busy ON runs (lane) WHERE state IN ('submitting', 'running') AND deadline_at IS NOT NULL;
CREATE INDEX runs_submitting ON runs (id) WHERE state = 'submitting';
CREATE INDEX runs_workspace ON runs (workspace, id);

CREATE TABLE run_inputs (
    run_id text PRIMARY KEY,
    input bytea NOT NULL
);

CREATE TABLE events (
    id text COLLATE "C" PRIMARY KEY,
    workspace text NOT NULL,
    run_id text NOT NULL,
    sequence integer NOT NULL,
    type text NOT NULL,
    created_at float8 NOT NULL,
    body bytea NOT NULL,
    UNIQUE (run_id, sequence)
);

CREATE TABLE deliveries (
    id text PRIMARY KEY,
    event_id text NOT NULL,
    run_id text NOT NULL,
    workspace text NOT NULL,
    url text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    due_at float8,
    leased_by text
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_run ON deliveries (run_id);

CREATE TABLE timeline (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    at float8 NOT NULL,
    kind text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX timeline_run ON timeline (run_id, id);

CREATE TABLE callbacks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    received_at float8 NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX callbacks_run ON callbacks (run_id, id);

CREATE TABLE idempotency_keys (
    scope text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    run_id text NOT NULL,
    created_at float8 NOT NULL,
    expires_at float8 NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_expiry ON idempotency_keys (expires_at);
CREATE INDEX idempotency_run ON idempotency_keys (run_id);

CREATE TABLE api_keys (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    workspace text NOT NULL,
    hash text NOT NULL UNIQUE,
    hint text NOT NULL,
    scope text NOT NULL,
    nodes text NOT NULL,
    runs_per_day integer,
    created_at float8 NOT NULL,
    revoked_at float8
);

CREATE TABLE key_usage (
    key_id text NOT NULL,
    day text NOT NULL,
    runs integer NOT NULL,
    runs_per_day integer NOT NULL,
    PRIMARY KEY (key_id, day)
) WITH (fillfactor = 50);

CREATE TABLE files (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    name text NOT NULL,
    mime text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    created_at float8 NOT NULL,
    expires_at float8 NOT NULL
);
CREATE INDEX files_expired ON files (expires_at);

-- Who is at work: what a process that is gone had in hand is taken up by others.
CREATE TABLE replicas (
    id text PRIMARY KEY,
    seen_at float8 NOT NULL
) WITH (fillfactor = 50);

-- What all processes of an instance agree on.
CREATE TABLE instance (
    name text PRIMARY KEY,
    value text NOT NULL
);
