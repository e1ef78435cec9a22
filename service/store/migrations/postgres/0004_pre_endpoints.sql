-- Who subscribes to events. What an event is matched by stands in columns, so that its deliveries are written with it.
CREATE TABLE endpoints (
    id text COLLATE "C" PRIMARY KEY,
    workspace text NOT NULL,
    url_hash text NOT NULL,
    identity text NOT NULL,
    state text NOT NULL,
    types jsonb NOT NULL,
    nodes jsonb NOT NULL,
    reference_prefix text,
    group_key text,
    expires_at float8,
    due_at float8,
    concurrency integer,
    rate_per_s float8,
    version integer NOT NULL DEFAULT 1,
    doc text NOT NULL
);
CREATE UNIQUE INDEX endpoints_identity ON endpoints (workspace, identity);
CREATE INDEX endpoints_open ON endpoints (workspace) WHERE state = 'enabled';
CREATE INDEX endpoints_due ON endpoints (due_at) WHERE due_at IS NOT NULL;

-- `run_id` of events, deliveries and the timeline names what is told of: a run, a group or an endpoint.
-- A delivery of an endpoint has its id, and no URL of its own. What has the same target shares its limits.
ALTER TABLE deliveries ADD COLUMN endpoint_id text;
ALTER TABLE deliveries ADD COLUMN target text NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN outcome text;
ALTER TABLE deliveries ADD COLUMN status integer;
ALTER TABLE deliveries ADD COLUMN attempted_at float8;
CREATE INDEX deliveries_target ON deliveries (target, due_at) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, coalesce(endpoint_id, ''));
CREATE INDEX deliveries_workspace ON deliveries (workspace, id COLLATE "C");
CREATE INDEX deliveries_endpoint ON deliveries (endpoint_id, id COLLATE "C") WHERE endpoint_id IS NOT NULL;

-- What people see of deliveries; while an attempt is under way, no time of the next is known. Those to sinks are the
-- operator's, whose ids are no `ep_…`.
CREATE VIEW delivery_log AS
SELECT deliveries.id, deliveries.event_id, events.type, deliveries.run_id, deliveries.workspace, deliveries.endpoint_id,
       deliveries.state, deliveries.attempts,
       CASE WHEN deliveries.leased_by IS NULL THEN deliveries.due_at END AS due_at,
       deliveries.outcome, deliveries.status, deliveries.attempted_at
FROM deliveries JOIN events ON events.id = deliveries.event_id
WHERE deliveries.endpoint_id IS NULL OR substr(deliveries.endpoint_id, 1, 3) = 'ep_';

ALTER TABLE timeline ADD COLUMN delivery_id text;
CREATE INDEX timeline_delivery ON timeline (delivery_id, id) WHERE delivery_id IS NOT NULL;

-- Runs that complete together. The ends of their runs are noted apart, so that no two commits wait for one row.
CREATE TABLE groups (
    id text COLLATE "C" PRIMARY KEY,
    workspace text NOT NULL,
    group_key text NOT NULL,
    identity text,
    state text NOT NULL,
    due_at float8,
    version integer NOT NULL DEFAULT 1,
    doc text NOT NULL
);
CREATE UNIQUE INDEX groups_key ON groups (workspace, group_key);
CREATE UNIQUE INDEX groups_identity ON groups (workspace, identity) WHERE identity IS NOT NULL;
CREATE INDEX groups_workspace ON groups (workspace, id);
CREATE INDEX groups_due ON groups (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE group_news (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace text NOT NULL,
    group_key text NOT NULL
);
CREATE INDEX runs_group ON runs (workspace, group_id, id) WHERE group_id IS NOT NULL;
CREATE INDEX events_endpoints ON events (id COLLATE "C") WHERE type = 'endpoint.disabled';
