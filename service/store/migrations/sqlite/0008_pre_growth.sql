-- What is looked for must cost the same however much else is kept: a sweep finds what is due lane by lane, a list finds
-- its rows by the narrowest word that it is given.
DROP INDEX runs_due;
CREATE INDEX runs_due ON runs (state, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_state ON runs (state, workspace, id);
CREATE INDEX runs_node ON runs (workspace, node, id);
CREATE INDEX runs_reference ON runs (workspace, reference, id) WHERE reference IS NOT NULL;
CREATE INDEX deliveries_state ON deliveries (workspace, state, id) WHERE state <> 'delivered';
CREATE INDEX deliveries_failed ON deliveries (endpoint_id, id) WHERE state = 'failed' AND endpoint_id IS NOT NULL;
CREATE INDEX groups_state ON groups (workspace, state, id);
CREATE INDEX events_seldom ON events (workspace, position, id)
    WHERE type NOT IN ('run.queued', 'run.running', 'run.progressed', 'run.succeeded');
