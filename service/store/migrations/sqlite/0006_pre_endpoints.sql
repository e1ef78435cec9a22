-- Who subscribes to events. What an event is matched by stands in columns, so that its deliveries are written with it.
CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    url_hash TEXT NOT NULL,
    identity TEXT NOT NULL,
    state TEXT NOT NULL,
    types TEXT NOT NULL,
    nodes TEXT NOT NULL,
    reference_prefix TEXT,
    group_key TEXT,
    expires_at REAL,
    due_at REAL,
    concurrency INTEGER,
    rate_per_s REAL,
    version INTEGER NOT NULL DEFAULT 1,
    doc TEXT NOT NULL
);
CREATE UNIQUE INDEX endpoints_identity ON endpoints (workspace, identity);
CREATE INDEX endpoints_open ON endpoints (workspace) WHERE state = 'enabled';
CREATE INDEX endpoints_due ON endpoints (due_at) WHERE due_at IS NOT NULL;

-- `run_id` of events, deliveries and the timeline names what is told of: a run, a group or an endpoint.
-- A delivery of an endpoint has its id, and no URL of its own. What has the same target shares its limits.
ALTER TABLE deliveries ADD COLUMN endpoint_id TEXT;
ALTER TABLE deliveries ADD COLUMN target TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN outcome TEXT;
ALTER TABLE deliveries ADD COLUMN status INTEGER;
ALTER TABLE deliveries ADD COLUMN attempted_at REAL;
DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (target, due_at) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, coalesce(endpoint_id, ''));
CREATE INDEX deliveries_workspace ON deliveries (workspace, id);
CREATE INDEX deliveries_endpoint ON deliveries (endpoint_id, id) WHERE endpoint_id IS NOT NULL;

-- What people see of deliveries; while an attempt is under way, no time of the next is known. Those to sinks are the
-- operator's, whose ids are no `ep_…`.
CREATE VIEW delivery_log AS
SELECT deliveries.id, deliveries.event_id, events.type, deliveries.run_id, deliveries.workspace, deliveries.endpoint_id,
       deliveries.state, deliveries.attempts,
       CASE WHEN deliveries.leased_by IS NULL THEN deliveries.due_at END AS due_at,
       deliveries.outcome, deliveries.status, deliveries.attempted_at
FROM deliveries JOIN events ON events.id = deliveries.event_id
WHERE deliveries.endpoint_id IS NULL OR substr(deliveries.endpoint_id, 1, 3) = 'ep_';

ALTER TABLE timeline ADD COLUMN delivery_id TEXT;
CREATE INDEX timeline_delivery ON timeline (delivery_id, id) WHERE delivery_id IS NOT NULL;

-- Runs that complete together. The ends of their runs are noted apart, so that no two commits wait for one row.
CREATE TABLE groups (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    group_key TEXT NOT NULL,
    identity TEXT,
    state TEXT NOT NULL,
    due_at REAL,
    version INTEGER NOT NULL DEFAULT 1,
    doc TEXT NOT NULL
);
CREATE UNIQUE INDEX groups_key ON groups (workspace, group_key);
CREATE UNIQUE INDEX groups_identity ON groups (workspace, identity) WHERE identity IS NOT NULL;
CREATE INDEX groups_workspace ON groups (workspace, id);
CREATE INDEX groups_due ON groups (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE group_news (
    id INTEGER PRIMARY KEY,
    workspace TEXT NOT NULL,
    group_key TEXT NOT NULL
);
CREATE INDEX runs_group ON runs (workspace, group_id, id) WHERE group_id IS NOT NULL;
CREATE INDEX events_endpoints ON events (id) WHERE type = 'endpoint.disabled';
