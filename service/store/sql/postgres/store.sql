-- name: run_get
SELECT doc, due_at FROM runs WHERE id = :id;

-- name: run_seen
-- What units decide on: for many at once, each row with the number of its unit.
SELECT wanted.n, doc, version, due_at FROM unnest(:k1::text[]) WITH ORDINALITY AS wanted(id, n) JOIN runs USING (id);

-- name: start_seen
SELECT wanted.n, held.fingerprint, runs.doc, runs.due_at, used.runs
FROM unnest(:k1::text[], :k2::text[], :k3::text[], :k4::text[], :k5::float8[]) WITH ORDINALITY
     AS wanted(scope, key, key_id, day, now, n)
LEFT JOIN idempotency_keys AS held ON held.scope = wanted.scope AND held.key = wanted.key
                                  AND held.expires_at > wanted.now
LEFT JOIN runs ON runs.id = held.run_id
LEFT JOIN key_usage AS used ON used.key_id = wanted.key_id AND used.day = wanted.day;

-- name: commit_u
-- What a batch of units writes is one statement: one round trip, and no lock outlives it, wherever the process stops. A run
-- is changed only from the version that was decided on; what is told of runs goes with them or not at all. News that move
-- neither state nor due time leave a run to whoever has it in hand. Locks are taken in the order of ids and keys, so that
-- two batches never wait for each other.
--
-- It is put together of those of the parts `commit_…` that have rows (`postgres_commit`): all of them cost ten times what
-- one does. `done` are the runs, groups and endpoints that are written, and those of which more is only told.
changed AS MATERIALIZED (
    SELECT * FROM unnest(:u_id::text[], :u_version::int[], :u_state::text[], :u_due_at::float8[],
                         :u_deadline_at::float8[], :u_leased_by::text[], :u_doc::text[])
           AS c(id, version, state, due_at, deadline_at, leased_by, doc)
),
locked AS MATERIALIZED (
    SELECT runs.id FROM runs JOIN changed ON changed.id = runs.id AND changed.version = runs.version
    ORDER BY runs.id FOR UPDATE OF runs
),
updated AS (
    UPDATE runs SET state = c.state, due_at = c.due_at, deadline_at = c.deadline_at, doc = c.doc,
                    version = runs.version + 1,
                    leased_by = CASE WHEN runs.state = c.state AND runs.due_at IS NOT DISTINCT FROM c.due_at
                                     THEN runs.leased_by ELSE c.leased_by END
    FROM changed AS c JOIN locked USING (id) WHERE runs.id = c.id
    RETURNING runs.id
);

-- name: commit_i
wanted AS MATERIALIZED (
    SELECT * FROM unnest(:i_id::text[], :i_workspace::text[], :i_node::text[], :i_lane::text[], :i_state::text[],
                         :i_reference::text[], :i_group_id::text[], :i_callback_token::text[], :i_created_at::float8[],
                         :i_due_at::float8[], :i_deadline_at::float8[], :i_leased_by::text[], :i_doc::text[],
                         :i_input::bytea[], :i_scope::text[], :i_key::text[], :i_fingerprint::text[],
                         :i_keyed_at::float8[], :i_expires_at::float8[], :i_key_id::text[], :i_day::text[],
                         :i_runs_per_day::int[], :i_leader::text[])
           AS w(id, workspace, node, lane, state, reference, group_id, callback_token, created_at, due_at, deadline_at,
                leased_by, doc, input, scope, key, fingerprint, keyed_at, expires_at, key_id, day, runs_per_day, leader)
),
counted AS (
    INSERT INTO key_usage AS used (key_id, day, runs, runs_per_day)
    SELECT key_id, day, count(*), min(runs_per_day) FROM wanted WHERE key_id IS NOT NULL
    GROUP BY key_id, day ORDER BY key_id
    ON CONFLICT (key_id, day) DO UPDATE SET runs = used.runs + excluded.runs
        WHERE used.runs + excluded.runs <= excluded.runs_per_day
    RETURNING key_id
),
held AS (
    INSERT INTO idempotency_keys AS held (scope, key, fingerprint, run_id, created_at, expires_at)
    SELECT scope, key, fingerprint, id, keyed_at, expires_at FROM wanted
    WHERE key IS NOT NULL AND (key_id IS NULL OR key_id IN (SELECT key_id FROM counted)) ORDER BY scope, key
    ON CONFLICT (scope, key) DO UPDATE SET fingerprint = excluded.fingerprint, run_id = excluded.run_id,
                                           created_at = excluded.created_at, expires_at = excluded.expires_at
        WHERE held.expires_at <= excluded.created_at
    RETURNING run_id
),
fit AS (
    SELECT id FROM wanted WHERE (key_id IS NULL OR key_id IN (SELECT key_id FROM counted))
                            AND (key IS NULL OR id IN (SELECT run_id FROM held))
),
inserted AS (
    INSERT INTO runs (id, workspace, node, lane, state, reference, group_id, callback_token, created_at, due_at,
                      deadline_at, leased_by, doc)
    SELECT id, workspace, node, lane, state, reference, group_id, callback_token, created_at, due_at, deadline_at,
           leased_by, doc
    FROM wanted WHERE id IN (SELECT id FROM fit) AND leader IN (SELECT id FROM fit)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
inputs AS (
    INSERT INTO run_inputs (run_id, input) SELECT id, input FROM wanted WHERE id IN (SELECT id FROM inserted)
);

-- name: commit_n
grouped AS (
    INSERT INTO groups (id, workspace, group_key, state, due_at, doc)
    SELECT id, workspace, group_key, state, due_at, doc
    FROM unnest(:n_id::text[], :n_workspace::text[], :n_group_key::text[], :n_state::text[], :n_due_at::float8[],
                :n_doc::text[], :n_leader::text[]) AS n(id, workspace, group_key, state, due_at, doc, leader)
    WHERE leader IS NULL OR leader IN (SELECT id FROM inserted)
    ON CONFLICT DO NOTHING
    RETURNING id
);

-- name: commit_g
regrouped AS (
    UPDATE groups SET state = g.state, due_at = g.due_at, doc = g.doc, version = groups.version + 1
    FROM unnest(:g_id::text[], :g_version::int[], :g_state::text[], :g_due_at::float8[], :g_doc::text[])
         AS g(id, version, state, due_at, doc)
    WHERE groups.id = g.id AND groups.version = g.version
    RETURNING groups.id
);

-- name: commit_p
resubscribed AS (
    UPDATE endpoints SET url_hash = p.url_hash, identity = p.identity, state = p.state, types = p.types::jsonb,
                         nodes = p.nodes::jsonb, reference_prefix = p.reference_prefix, group_key = p.group_key,
                         expires_at = p.expires_at, due_at = p.due_at, concurrency = p.concurrency,
                         rate_per_s = p.rate_per_s, doc = p.doc, version = endpoints.version + 1
    FROM unnest(:p_id::text[], :p_version::int[], :p_url_hash::text[], :p_identity::text[], :p_state::text[],
                :p_types::text[], :p_nodes::text[], :p_reference_prefix::text[], :p_group_key::text[],
                :p_expires_at::float8[], :p_due_at::float8[], :p_concurrency::int[], :p_rate_per_s::float8[],
                :p_doc::text[])
         AS p(id, version, url_hash, identity, state, types, nodes, reference_prefix, group_key, expires_at, due_at,
              concurrency, rate_per_s, doc)
    WHERE endpoints.id = p.id AND endpoints.version = p.version
    RETURNING endpoints.id
);

-- name: commit_e
told AS (
    INSERT INTO events (id, workspace, run_id, sequence, type, created_at, body)
    SELECT * FROM unnest(:e_id::text[], :e_workspace::text[], :e_run_id::text[], :e_sequence::int[], :e_type::text[],
                         :e_created_at::float8[], :e_body::bytea[])
           AS e(id, workspace, run_id, sequence, type, created_at, body)
    WHERE run_id IN (SELECT id FROM done)
);

-- name: commit_d
sent AS (
    INSERT INTO deliveries (id, event_id, run_id, workspace, url, target, state, due_at, profile, method, until,
                            leased_by, first_at)
    SELECT id, event_id, run_id, workspace, url, target, 'pending', due_at, profile, method, until, leased_by, first_at
    FROM unnest(:d_id::text[], :d_event_id::text[], :d_run_id::text[], :d_workspace::text[], :d_url::text[],
                :d_target::text[], :d_due_at::float8[], :d_profile::text[], :d_method::text[], :d_until::float8[],
                :d_leased_by::text[], :d_first_at::float8[])
         AS d(id, event_id, run_id, workspace, url, target, due_at, profile, method, until, leased_by, first_at)
    WHERE run_id IN (SELECT id FROM done)
);

-- name: commit_x
fanned AS (
    -- A delivery for each endpoint that wants an event; the time in its id is the event's.
    INSERT INTO deliveries (id, event_id, run_id, workspace, url, endpoint_id, target, state, due_at)
    SELECT 'dlv_' || substr(x.event_id, 5, 10) || substr(md5(x.event_id || p.id), 1, 16), x.event_id, x.run_id,
           x.workspace, '', p.id, p.id, 'pending', x.at
    FROM unnest(:x_event_id::text[], :x_run_id::text[], :x_workspace::text[], :x_type::text[], :x_node::text[],
                :x_reference::text[], :x_group_id::text[], :x_at::float8[])
         AS x(event_id, run_id, workspace, type, node, reference, group_id, at)
    JOIN endpoints AS p ON p.workspace IN (x.workspace, '*') AND p.state = 'enabled'
    WHERE x.run_id IN (SELECT id FROM done) AND p.id <> x.run_id
      AND (p.expires_at IS NULL OR p.expires_at > x.at)
      AND p.types ? x.type
      AND (p.nodes = '[]' OR EXISTS (SELECT 1 FROM jsonb_array_elements_text(p.nodes) AS pattern
                                     WHERE x.node LIKE pattern ESCAPE '\'))
      AND (p.reference_prefix IS NULL OR starts_with(x.reference, p.reference_prefix))
      AND (p.group_key IS NULL OR p.group_key = x.group_id)
    ON CONFLICT DO NOTHING
    RETURNING event_id
);

-- name: commit_f
finished AS (
    UPDATE deliveries AS d SET state = f.state, attempts = f.attempts, due_at = f.due_at, outcome = f.outcome,
                               status = f.status, attempted_at = f.attempted_at, leased_by = NULL
    FROM (
        SELECT f.* FROM unnest(:f_id::text[], :f_leased_until::float8[], :f_state::text[], :f_attempts::int[],
                               :f_due_at::float8[], :f_outcome::text[], :f_status::int[], :f_attempted_at::float8[])
                        AS f(id, leased_until, state, attempts, due_at, outcome, status, attempted_at)
        JOIN deliveries USING (id) WHERE deliveries.state = 'pending' ORDER BY id FOR UPDATE OF deliveries
    ) AS f
    WHERE d.id = f.id AND (d.due_at = f.leased_until OR f.state = 'delivered')
);

-- name: commit_t
noted AS (
    INSERT INTO timeline (run_id, at, kind, detail, delivery_id)
    SELECT run_id, at, kind, detail, delivery_id
    FROM unnest(:t_run_id::text[], :t_at::float8[], :t_kind::text[], :t_detail::text[], :t_delivery_id::text[])
         WITH ORDINALITY AS t(run_id, at, kind, detail, delivery_id, n)
    WHERE run_id IN (SELECT id FROM done) ORDER BY n
);

-- name: commit_c
kept AS (
    -- The first hundred of a run tell its story; more would only fill the disk.
    INSERT INTO callbacks (run_id, received_at, body)
    SELECT run_id, received_at, body
    FROM unnest(:c_run_id::text[], :c_received_at::float8[], :c_body::bytea[]) AS c(run_id, received_at, body)
    WHERE run_id IN (SELECT id FROM done)
      AND (SELECT count(*) FROM callbacks AS earlier WHERE earlier.run_id = c.run_id) < 100
);

-- name: commit_w
newly AS (
    INSERT INTO group_news (workspace, group_key)
    SELECT workspace, group_key FROM unnest(:w_workspace::text[], :w_group_key::text[]) AS w(workspace, group_key)
);

-- name: committed
-- Which changes of a batch stand in the database, when the answer to their commit was lost.
SELECT runs.id FROM runs
JOIN unnest(:u_id::text[], :u_version::int[], :u_doc::text[]) AS c(id, version, doc)
  ON c.id = runs.id AND runs.version = c.version + 1 AND runs.doc = c.doc
UNION ALL
SELECT id FROM runs WHERE id = ANY(:i_id::text[])
UNION ALL
SELECT id FROM groups WHERE id = ANY(:n_id::text[])
UNION ALL
SELECT groups.id FROM groups
JOIN unnest(:g_id::text[], :g_version::int[], :g_doc::text[]) AS g(id, version, doc)
  ON g.id = groups.id AND groups.version = g.version + 1 AND groups.doc = g.doc
UNION ALL
SELECT endpoints.id FROM endpoints
JOIN unnest(:p_id::text[], :p_version::int[], :p_doc::text[]) AS p(id, version, doc)
  ON p.id = endpoints.id AND endpoints.version = p.version + 1 AND endpoints.doc = p.doc;

-- name: run_by_token
SELECT id, node FROM runs WHERE callback_token = :token;

-- name: runs_list
-- The narrowest word that is given finds its rows by an index of its own.
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND id < coalesce(:before::text, '~')
  AND (:state::text IS NULL OR state = :state)
  AND (:node::text IS NULL OR node = :node)
  AND (:reference::text IS NULL OR reference = :reference)
  AND (:group_id::text IS NULL OR group_id = :group_id)
ORDER BY id DESC LIMIT :limit;

-- name: runs_list_of_state
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND state = :state AND id < coalesce(:before::text, '~')
  AND (:node::text IS NULL OR node = :node)
  AND (:reference::text IS NULL OR reference = :reference)
  AND (:group_id::text IS NULL OR group_id = :group_id)
ORDER BY id DESC LIMIT :limit;

-- name: runs_list_of_node
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND node = :node AND id < coalesce(:before::text, '~')
  AND (:state::text IS NULL OR state = :state)
  AND (:reference::text IS NULL OR reference = :reference)
  AND (:group_id::text IS NULL OR group_id = :group_id)
ORDER BY id DESC LIMIT :limit;

-- name: runs_list_of_reference
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND reference = :reference AND id < coalesce(:before::text, '~')
  AND (:state::text IS NULL OR state = :state)
  AND (:node::text IS NULL OR node = :node)
  AND (:group_id::text IS NULL OR group_id = :group_id)
ORDER BY id DESC LIMIT :limit;

-- name: runs_list_of_group
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND group_id = :group_id AND id < coalesce(:before::text, '~')
  AND (:state::text IS NULL OR state = :state)
  AND (:node::text IS NULL OR node = :node)
  AND (:reference::text IS NULL OR reference = :reference)
ORDER BY id DESC LIMIT :limit;

-- name: runs_due_lanes
-- One step through the index for each lane, however many runs it has.
WITH RECURSIVE lanes (lane) AS (
    (SELECT lane FROM runs WHERE state = :state AND due_at IS NOT NULL ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT lane FROM runs WHERE state = :state AND due_at IS NOT NULL AND lane > lanes.lane ORDER BY lane LIMIT 1)
    FROM lanes WHERE lane IS NOT NULL
)
SELECT lane FROM lanes
WHERE EXISTS (SELECT 1 FROM runs WHERE state = :state AND runs.lane = lanes.lane AND due_at <= :now);

-- name: runs_take
-- Queued runs that are about to be submitted. A start is left to the process that took it in for a moment: it may have
-- somebody listening. The lease lasts for the decision that follows at once.
WITH due AS MATERIALIZED (
    SELECT id, due_at FROM runs WHERE state = 'queued' AND lane = :lane AND due_at <= :now
      AND (leased_by IS NULL OR leased_by = :owner OR due_at <= :foreign_before)
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE runs SET due_at = :now::float8 + 10, leased_by = :owner, version = version + 1
FROM due WHERE runs.id = due.id AND runs.id = ANY(ARRAY(SELECT id FROM due))
RETURNING doc, version, due.due_at;

-- name: runs_claim
-- Moving the due time is the lease: a process that dies leaves the run to be found again.
-- The array keeps a generic plan from scanning all runs for the few that are due.
WITH due AS MATERIALIZED (
    SELECT id FROM runs WHERE state = :state AND lane = :lane AND due_at <= :until
      AND (due_at <= :now OR leased_by IS NULL)
      AND (:nodes::text[] IS NULL OR node = ANY(:nodes))
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE runs SET due_at = :lease_until, leased_by = :owner, version = version + 1
WHERE id = ANY(ARRAY(SELECT id FROM due))
RETURNING doc;

-- name: runs_wake
UPDATE runs SET due_at = :now, version = version + 1 WHERE state = 'running' AND due_at IS NULL AND lane = :lane
  AND doc::json ->> 'upstream_task_id' = :task_id;

-- name: run_due
UPDATE runs SET due_at = :now, leased_by = NULL, version = version + 1
WHERE id = :id AND state = 'running' AND due_at > :now;

-- name: runs_running
SELECT (SELECT count(*) FROM runs WHERE state = 'submitting' AND lane = :lane)
     + (SELECT count(*) FROM runs WHERE state = 'running' AND lane = :lane AND due_at IS NOT NULL)
     + (SELECT count(*) FROM runs WHERE state = 'running' AND lane = :lane AND due_at IS NULL);

-- name: runs_expired
SELECT doc, version, due_at FROM runs WHERE deadline_at <= :now AND state <> 'submitting' ORDER BY deadline_at LIMIT :limit;

-- name: runs_orphaned
-- Runs that are being submitted by nobody who is at work; the database's clock tells, the same for all.
SELECT doc, version, due_at FROM runs
WHERE state = 'submitting'
  AND (leased_by IS NULL OR leased_by NOT IN (
       SELECT id FROM replicas WHERE seen_at > extract(epoch FROM clock_timestamp()) - :alive_s::float8))
LIMIT :limit;

-- name: runs_resting
SELECT id FROM runs WHERE id = ANY(:ids::text[])
  AND (deadline_at IS NULL OR state = 'submit_unknown' OR (state = 'running' AND due_at IS NULL));

-- name: runs_counts
SELECT state, count(*) FROM runs WHERE state IN ('queued', 'submitting', 'running', 'submit_unknown') GROUP BY state;

-- name: runs_release
-- Running tasks are looked at again soon, those that wait for input too: a callback may have come, or the node that
-- goes on with them may have been called, while nobody was there to take note of it. So many at a time, since a
-- statement must not last.
UPDATE runs SET due_at = least(due_at, :now), leased_by = NULL, version = version + 1
WHERE id = ANY(ARRAY(
    SELECT id FROM runs
    WHERE ((state = 'running' AND (due_at IS NULL OR due_at > :now OR leased_by IS NOT NULL))
           OR (due_at IS NOT NULL AND leased_by IS NOT NULL))
      AND (leased_by IS NULL OR leased_by NOT IN (SELECT id FROM replicas))
    LIMIT :limit));

-- name: runs_release_of
UPDATE runs SET due_at = least(due_at, :now), leased_by = NULL, version = version + 1
WHERE (due_at IS NOT NULL AND leased_by = ANY(:owners::text[])) OR (state = 'running' AND due_at IS NULL);

-- name: input_get
SELECT input FROM run_inputs WHERE run_id = :run_id;

-- name: timeline_list
SELECT at, kind, detail FROM timeline WHERE run_id = :run_id ORDER BY id LIMIT :limit;

-- name: deliveries_targets
-- One step through the index for each receiver that something is pending for, however much that is.
WITH RECURSIVE pending (target) AS (
    (SELECT target FROM deliveries WHERE due_at IS NOT NULL ORDER BY target LIMIT 1)
    UNION ALL
    SELECT (SELECT target FROM deliveries WHERE due_at IS NOT NULL AND target > pending.target ORDER BY target LIMIT 1)
    FROM pending WHERE target IS NOT NULL
)
SELECT pending.target, due.workspace, endpoints.concurrency, endpoints.rate_per_s
FROM pending
JOIN LATERAL (SELECT workspace, due_at FROM deliveries WHERE target = pending.target AND due_at <= :now
              ORDER BY due_at LIMIT 1) AS due ON true
LEFT JOIN endpoints ON endpoints.id = pending.target
ORDER BY due.due_at;

-- name: deliveries_claim
-- Moving the due time is the lease: a process that dies leaves the delivery to be found again.
WITH due AS MATERIALIZED (
    SELECT free.id FROM unnest(:targets::text[], :rooms::int[]) AS wanted(target, room)
    CROSS JOIN LATERAL (
        SELECT id FROM deliveries WHERE target = wanted.target AND due_at <= :now
        ORDER BY due_at LIMIT wanted.room FOR UPDATE SKIP LOCKED
    ) AS free
)
UPDATE deliveries SET due_at = :lease_until, leased_by = :owner, first_at = coalesce(first_at, :now)
WHERE id = ANY(ARRAY(SELECT id FROM due))
RETURNING id, event_id, run_id, workspace, url, endpoint_id, target, attempts, profile, method, first_at, until;

-- name: deliveries_list
-- The one word that must be given finds its rows by an index of its own.
SELECT * FROM delivery_log WHERE workspace = :workspace
  AND (:endpoint::text IS NULL OR endpoint_id = :endpoint)
  AND (:run::text IS NULL OR run_id = :run)
  AND (:event::text IS NULL OR event_id = :event)
  AND (:state::text IS NULL OR state = :state)
  AND id COLLATE "C" < coalesce(:before::text, '~')
ORDER BY id COLLATE "C" DESC LIMIT :limit;

-- name: deliveries_list_of_endpoint
SELECT * FROM delivery_log WHERE endpoint_id = :endpoint AND workspace = :workspace
  AND (:run::text IS NULL OR run_id = :run)
  AND (:event::text IS NULL OR event_id = :event)
  AND (:state::text IS NULL OR state = :state)
  AND id COLLATE "C" < coalesce(:before::text, '~')
ORDER BY id COLLATE "C" DESC LIMIT :limit;

-- name: deliveries_list_of_run
SELECT * FROM delivery_log WHERE run_id = :run AND workspace = :workspace
  AND (:endpoint::text IS NULL OR endpoint_id = :endpoint)
  AND (:event::text IS NULL OR event_id = :event)
  AND (:state::text IS NULL OR state = :state)
  AND id COLLATE "C" < coalesce(:before::text, '~')
ORDER BY id COLLATE "C" DESC LIMIT :limit;

-- name: deliveries_list_of_event
SELECT * FROM delivery_log WHERE event_id = :event AND workspace = :workspace
  AND (:endpoint::text IS NULL OR endpoint_id = :endpoint)
  AND (:run::text IS NULL OR run_id = :run)
  AND (:state::text IS NULL OR state = :state)
  AND id COLLATE "C" < coalesce(:before::text, '~')
ORDER BY id COLLATE "C" DESC LIMIT :limit;

-- name: deliveries_list_of_state
-- Those that have not been delivered, in one of the two states of such.
SELECT * FROM delivery_log WHERE workspace = :workspace AND state = :state AND state <> 'delivered'
  AND (:endpoint::text IS NULL OR endpoint_id = :endpoint)
  AND (:run::text IS NULL OR run_id = :run)
  AND (:event::text IS NULL OR event_id = :event)
  AND id COLLATE "C" < coalesce(:before::text, '~')
ORDER BY id COLLATE "C" DESC LIMIT :limit;

-- name: delivery_get
SELECT * FROM delivery_log WHERE id = :id AND workspace = :workspace;

-- name: delivery_attempts
SELECT at, kind, detail FROM timeline WHERE delivery_id = :id ORDER BY id LIMIT :limit;

-- name: deliveries_again
-- What is under way is left to who has it in hand.
UPDATE deliveries SET state = 'pending', due_at = :now, leased_by = NULL, first_at = NULL, attempts = 0
WHERE id = ANY(:ids::text[]) AND leased_by IS NULL;

-- name: event_replay
-- To all that it went to.
UPDATE deliveries SET state = 'pending', due_at = :now, first_at = NULL, attempts = 0
WHERE event_id = :event AND workspace = :workspace AND (:endpoint::text IS NULL OR endpoint_id = :endpoint)
  AND leased_by IS NULL;

-- name: event_send
-- To an endpoint that it has not gone to.
INSERT INTO deliveries (id, event_id, run_id, workspace, url, endpoint_id, target, state, due_at)
SELECT 'dlv_' || substr(events.id, 5, 10) || substr(md5(events.id || endpoints.id), 1, 16), events.id, events.run_id, events.workspace, '',
       endpoints.id, endpoints.id, 'pending', :now
FROM events JOIN endpoints ON endpoints.id = :endpoint AND endpoints.workspace IN (events.workspace, '*')
WHERE events.id = :event AND events.workspace = :workspace
ON CONFLICT DO NOTHING;

-- name: endpoint_recover
-- What was made since the moment and given up, or was given up since, goes out again.
UPDATE deliveries SET state = 'pending', due_at = :now, first_at = NULL, attempts = 0
WHERE endpoint_id = :endpoint AND (id COLLATE "C" >= :first_delivery OR attempted_at >= :since) AND state = 'failed';

-- name: endpoint_catch_up
-- What came while nothing was sent goes out for the first time, oldest first.
INSERT INTO deliveries (id, event_id, run_id, workspace, url, endpoint_id, target, state, due_at)
SELECT 'dlv_' || substr(events.id, 5, 10) || substr(md5(events.id || endpoints.id), 1, 16), events.id, events.run_id, events.workspace, '',
       endpoints.id, endpoints.id, 'pending', :now
FROM endpoints
JOIN events ON endpoints.workspace IN (events.workspace, '*') AND events.id >= :first_event
LEFT JOIN runs ON runs.id = events.run_id
LEFT JOIN groups ON groups.id = events.run_id
WHERE endpoints.id = :endpoint
  AND endpoints.types ? events.type AND events.run_id <> endpoints.id
  AND (endpoints.nodes = '[]' OR EXISTS (SELECT 1 FROM jsonb_array_elements_text(endpoints.nodes) AS pattern
                                            WHERE runs.node LIKE pattern ESCAPE '\'))
  AND (endpoints.reference_prefix IS NULL
       OR starts_with(coalesce(runs.reference, groups.doc::json ->> 'reference'), endpoints.reference_prefix))
  AND (endpoints.group_key IS NULL OR endpoints.group_key IN (runs.group_id, groups.group_key))
ORDER BY events.id
ON CONFLICT DO NOTHING;

-- name: event_body
SELECT type, body FROM events WHERE id = :id AND workspace = :workspace;

-- name: events_get
SELECT id, type, body FROM events WHERE id = ANY(:ids::text[]);

-- name: events_floor
-- How far down so many events reach.
SELECT xid::text::bigint AS place FROM events
WHERE workspace = :workspace AND (xid, id) < (:place::bigint::text::xid8, :id)
ORDER BY events.xid DESC, id DESC LIMIT 1 OFFSET :window;

-- name: events_before
-- Events are read in the order of their transactions, and only those below the oldest that is still at work: what
-- becomes visible later stands after them, however long its commit took. See docs/decisions/0011-the-order-of-events.md.
SELECT xid::text::bigint AS place, id, type, body FROM events
WHERE workspace = :workspace AND (xid, id) < (:place::bigint::text::xid8, :id) AND xid >= :floor::bigint::text::xid8
  AND xid < pg_snapshot_xmin(pg_current_snapshot())
  AND type = ANY(:types::text[])
  AND ((:node::text IS NULL AND :reference::text IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node::text IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference::text IS NULL OR reference = :reference)))
ORDER BY xid DESC, id DESC LIMIT :limit;

-- name: events_before_of_seldom
SELECT xid::text::bigint AS place, id, type, body FROM events
WHERE workspace = :workspace AND (xid, id) < (:place::bigint::text::xid8, :id) AND xid >= :floor::bigint::text::xid8
  AND xid < pg_snapshot_xmin(pg_current_snapshot())
  AND type = ANY(:types::text[])
  AND type NOT IN ('run.queued', 'run.running', 'run.progressed', 'run.succeeded')
  AND ((:node::text IS NULL AND :reference::text IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node::text IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference::text IS NULL OR reference = :reference)))
ORDER BY xid DESC, id DESC LIMIT :limit;

-- name: events_after
SELECT xid::text::bigint AS place, id, type, body FROM events
WHERE workspace = :workspace AND (xid, id) > (:place::bigint::text::xid8, :id)
  AND xid < pg_snapshot_xmin(pg_current_snapshot())
  AND type = ANY(:types::text[])
  AND ((:node::text IS NULL AND :reference::text IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node::text IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference::text IS NULL OR reference = :reference)))
ORDER BY xid, id LIMIT :limit;

-- name: events_before_of_run
SELECT xid::text::bigint AS place, id, type, body FROM events
WHERE run_id = :run AND workspace = :workspace AND (xid, id) < (:place::bigint::text::xid8, :id)
  AND xid < pg_snapshot_xmin(pg_current_snapshot())
  AND type = ANY(:types::text[])
  AND ((:node::text IS NULL AND :reference::text IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node::text IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference::text IS NULL OR reference = :reference)))
ORDER BY xid DESC, id DESC LIMIT :limit;

-- name: events_after_of_run
SELECT xid::text::bigint AS place, id, type, body FROM events
WHERE run_id = :run AND workspace = :workspace AND (xid, id) > (:place::bigint::text::xid8, :id)
  AND xid < pg_snapshot_xmin(pg_current_snapshot())
  AND type = ANY(:types::text[])
  AND ((:node::text IS NULL AND :reference::text IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node::text IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference::text IS NULL OR reference = :reference)))
ORDER BY xid, id LIMIT :limit;

-- name: events_newest
SELECT xid::text::bigint AS place, id FROM events
WHERE workspace = :workspace AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid DESC, id DESC LIMIT 1;

-- name: event_place
SELECT xid::text::bigint AS place FROM events WHERE id = :id AND workspace = :workspace;

-- name: events_later
SELECT xid::text::bigint AS place FROM events
WHERE workspace = :workspace AND id > :id AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, id LIMIT 1;

-- name: endpoint_insert
INSERT INTO endpoints (id, workspace, url_hash, identity, state, types, nodes, reference_prefix, group_key, expires_at,
                       due_at, concurrency, rate_per_s, doc)
VALUES (:id, :workspace, :url_hash, :identity, :state, :types::text::jsonb, :nodes::text::jsonb, :reference_prefix,
        :group_key, :expires_at, :due_at, :concurrency, :rate_per_s, :doc)
ON CONFLICT DO NOTHING;

-- name: endpoint_same
SELECT doc FROM endpoints WHERE workspace = :workspace AND identity = :identity;

-- name: endpoints_get
SELECT doc FROM endpoints WHERE id = ANY(:ids::text[]);

-- name: endpoint_seen
SELECT wanted.n, doc, version FROM unnest(:k1::text[]) WITH ORDINALITY AS wanted(id, n) JOIN endpoints USING (id);

-- name: endpoints_list
SELECT doc FROM endpoints
WHERE workspace = :workspace AND (:url_hash::text IS NULL OR url_hash = :url_hash)
  AND id < coalesce(:before::text, '~')
ORDER BY id DESC LIMIT :limit;

-- name: endpoints_all
SELECT doc FROM endpoints WHERE id > :after ORDER BY id LIMIT :limit;

-- name: endpoint_delete
DELETE FROM endpoints WHERE id = :id AND workspace = :workspace;

-- name: endpoints_due
SELECT doc FROM endpoints WHERE due_at <= :now ORDER BY due_at LIMIT :limit;

-- name: endpoints_of_progress
SELECT DISTINCT workspace FROM endpoints
WHERE state = 'enabled' AND types ? 'run.progressed';

-- name: group_insert
INSERT INTO groups (id, workspace, group_key, identity, state, due_at, doc)
VALUES (:id, :workspace, :group_key, :identity, :state, :due_at, :doc)
ON CONFLICT DO NOTHING;

-- name: group_seen
SELECT wanted.n, doc, version FROM unnest(:k1::text[]) WITH ORDINALITY AS wanted(id, n) JOIN groups USING (id);

-- name: group_get
SELECT doc FROM groups WHERE id = :key AND workspace = :workspace
UNION ALL
SELECT doc FROM groups WHERE workspace = :workspace AND group_key = :key;

-- name: group_of_identity
SELECT doc FROM groups WHERE workspace = :workspace AND identity = :identity;

-- name: groups_list
SELECT doc FROM groups WHERE workspace = :workspace AND id < coalesce(:before::text, '~')
ORDER BY id DESC LIMIT :limit;

-- name: groups_list_of_state
SELECT doc FROM groups WHERE workspace = :workspace AND state = :state AND id < coalesce(:before::text, '~')
ORDER BY id DESC LIMIT :limit;

-- name: group_states
SELECT group_id, state, count(*) FROM runs
WHERE workspace = :workspace AND group_id = ANY(:keys::text[])
GROUP BY group_id, state;

-- name: run_of_key
SELECT held.fingerprint, runs.doc, runs.due_at FROM idempotency_keys AS held JOIN runs ON runs.id = held.run_id
WHERE held.scope = :scope AND held.key = :key AND held.expires_at > :now;

-- name: group_runs
SELECT doc, due_at FROM runs WHERE workspace = :workspace AND group_id = :key ORDER BY id LIMIT :limit;

-- name: news_list
SELECT news.id, groups.doc FROM group_news AS news
LEFT JOIN groups ON groups.workspace = news.workspace AND groups.group_key = news.group_key
ORDER BY news.id LIMIT :limit;

-- name: groups_due
SELECT doc FROM groups WHERE due_at <= :now ORDER BY due_at LIMIT :limit;

-- name: news_forget
DELETE FROM group_news WHERE id = ANY(:ids::bigint[]);

-- name: deliveries_release
UPDATE deliveries SET due_at = :now, leased_by = NULL
WHERE due_at IS NOT NULL AND leased_by IS NOT NULL AND leased_by NOT IN (SELECT id FROM replicas);

-- name: deliveries_release_of
UPDATE deliveries SET due_at = :now, leased_by = NULL WHERE due_at IS NOT NULL AND leased_by = ANY(:owners::text[]);

-- name: replica_beat
INSERT INTO replicas (id, seen_at) VALUES (:owner, extract(epoch FROM clock_timestamp()))
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at;

-- name: replica_seen
UPDATE replicas SET seen_at = extract(epoch FROM clock_timestamp()) WHERE id = :owner;

-- name: replicas_alive
SELECT count(*) FROM replicas WHERE seen_at > extract(epoch FROM clock_timestamp()) - :alive_s::float8;

-- name: replicas_before
-- Ids are ordered by the moment at which a process began.
SELECT count(*) FROM replicas WHERE id < :owner AND seen_at > extract(epoch FROM clock_timestamp()) - :alive_s::float8;

-- name: replicas_dead
SELECT id FROM replicas WHERE seen_at <= extract(epoch FROM clock_timestamp()) - :alive_s::float8;

-- name: replicas_forget
DELETE FROM replicas WHERE id = ANY(:owners::text[]);

-- name: key_insert
INSERT INTO api_keys (id, name, workspace, hash, hint, scope, nodes, runs_per_day, created_at)
VALUES (:id, :name, :workspace, :hash, :hint, :scope, :nodes, :runs_per_day, :created_at)
ON CONFLICT DO NOTHING;

-- name: key_by_hash
SELECT id, name, workspace, hint, scope, nodes, runs_per_day, created_at, revoked_at FROM api_keys
WHERE hash = :hash AND revoked_at IS NULL;

-- name: keys_list
SELECT id, name, workspace, hint, scope, nodes, runs_per_day, created_at, revoked_at FROM api_keys ORDER BY created_at;

-- name: key_revoke
UPDATE api_keys SET revoked_at = :now WHERE name = :name AND revoked_at IS NULL;

-- name: file_insert
INSERT INTO files (id, workspace, name, mime, size_bytes, sha256, created_at, expires_at)
VALUES (:id, :workspace, :name, :mime, :size_bytes, :sha256, :created_at, :expires_at);

-- name: file_get
SELECT id, workspace, name, mime, size_bytes, sha256, created_at, expires_at FROM files WHERE id = :id;

-- name: file_delete
DELETE FROM files WHERE id = :id;

-- name: files_expired
SELECT id FROM files WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit;

-- name: runs_forgettable
-- Ids of runs sort by time, so young runs are not looked at. A run stays while it is open or watched, while one of its
-- events is on its way, while its idempotency key holds, and while its flow or its group is not over.
SELECT doc, due_at FROM runs
WHERE id > :after AND id < :youngest AND deadline_at IS NULL AND due_at IS NULL
  AND coalesce((doc::json ->> 'finished_at')::float8, created_at) < :before
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE run_id = runs.id AND state = 'pending')
  AND NOT EXISTS (SELECT 1 FROM idempotency_keys AS held WHERE held.run_id = runs.id AND held.expires_at > :now)
  AND NOT EXISTS (SELECT 1 FROM runs AS flow
                  WHERE flow.id = runs.doc::json ->> 'parent' AND (flow.deadline_at IS NOT NULL OR flow.due_at IS NOT NULL))
  AND NOT EXISTS (SELECT 1 FROM groups WHERE groups.workspace = runs.workspace AND groups.group_key = runs.group_id
                    AND (groups.state = 'open' OR groups.due_at IS NOT NULL))
ORDER BY id LIMIT :limit;

-- name: groups_forgettable
-- A group stays while it is open or has runs to cancel, while its event is on its way, and while the idempotency key
-- holds that it was made with, be it its own or a run's.
SELECT id FROM groups
WHERE id > :after AND state = 'completed' AND due_at IS NULL AND (doc::json ->> 'completed_at')::float8 < :before
  AND (identity IS NULL OR (doc::json ->> 'created_at')::float8 < :held_since)
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE run_id = groups.id AND state = 'pending')
  AND NOT EXISTS (SELECT 1 FROM runs JOIN idempotency_keys AS held ON held.run_id = runs.id AND held.expires_at > :now
                  WHERE runs.workspace = groups.workspace AND runs.group_id = groups.group_key)
ORDER BY id LIMIT :limit;

-- name: events_forgettable
-- Those of endpoints, which have nothing else that grows old.
SELECT id FROM events
WHERE type = 'endpoint.disabled' AND id COLLATE "C" > :after AND created_at < :before
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id AND state = 'pending')
ORDER BY id COLLATE "C" LIMIT :limit;

-- name: groups_count_of
SELECT count(*) FROM groups WHERE id = ANY(:ids::text[]);

-- name: groups_delete_of
DELETE FROM groups WHERE id = ANY(:ids::text[]);

-- name: told_events_count_of
SELECT count(*) FROM events WHERE id = ANY(:ids::text[]);

-- name: told_events_delete_of
DELETE FROM events WHERE id = ANY(:ids::text[]);

-- name: told_deliveries_count_of
SELECT count(*) FROM deliveries WHERE event_id = ANY(:ids::text[]);

-- name: told_deliveries_delete_of
DELETE FROM deliveries WHERE event_id = ANY(:ids::text[]);

-- name: told_timeline_count_of
SELECT count(*) FROM timeline
WHERE delivery_id IN (SELECT id FROM deliveries WHERE event_id = ANY(:ids::text[]));

-- name: told_timeline_delete_of
DELETE FROM timeline
WHERE delivery_id IN (SELECT id FROM deliveries WHERE event_id = ANY(:ids::text[]));

-- name: runs_count_of
SELECT count(*) FROM runs WHERE id = ANY(:ids::text[]);

-- name: inputs_count_of
SELECT count(*) FROM run_inputs WHERE run_id = ANY(:ids::text[]);

-- name: events_count_of
SELECT count(*) FROM events WHERE run_id = ANY(:ids::text[]);

-- name: deliveries_count_of
SELECT count(*) FROM deliveries WHERE run_id = ANY(:ids::text[]);

-- name: timeline_count_of
SELECT count(*) FROM timeline WHERE run_id = ANY(:ids::text[]);

-- name: callbacks_count_of
SELECT count(*) FROM callbacks WHERE run_id = ANY(:ids::text[]);

-- name: runs_delete_of
DELETE FROM runs WHERE id = ANY(:ids::text[]);

-- name: inputs_delete_of
DELETE FROM run_inputs WHERE run_id = ANY(:ids::text[]);

-- name: events_delete_of
DELETE FROM events WHERE run_id = ANY(:ids::text[]);

-- name: deliveries_delete_of
DELETE FROM deliveries WHERE run_id = ANY(:ids::text[]);

-- name: timeline_delete_of
DELETE FROM timeline WHERE run_id = ANY(:ids::text[]);

-- name: callbacks_delete_of
DELETE FROM callbacks WHERE run_id = ANY(:ids::text[]);

-- name: idempotency_count
SELECT count(*) FROM idempotency_keys WHERE expires_at <= :now;

-- name: idempotency_delete
DELETE FROM idempotency_keys WHERE (scope, key) IN
  (SELECT scope, key FROM idempotency_keys WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit);

-- name: usage_delete
DELETE FROM key_usage WHERE day < :day;

-- name: sketches_get
SELECT kind, doc, version FROM sketches WHERE kind = ANY(:kinds::text[]);

-- name: sketch_put
-- Written only on the version that it was made from; what has none yet is made from nothing.
INSERT INTO sketches (kind, version, learned_at, doc) VALUES (:kind, 1, :learned_at, :doc)
ON CONFLICT (kind) DO UPDATE SET version = sketches.version + 1, learned_at = excluded.learned_at, doc = excluded.doc
WHERE sketches.version = :version;

-- name: sketches_forget
DELETE FROM sketches WHERE learned_at < :before;

-- name: check_runs_without_input
SELECT count(*) FROM runs WHERE NOT EXISTS (SELECT 1 FROM run_inputs WHERE run_id = runs.id);

-- name: check_inputs_without_run
SELECT count(*) FROM run_inputs WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = run_inputs.run_id);

-- name: check_events_without_run
SELECT count(*) FROM events WHERE starts_with(run_id, 'run_') AND NOT EXISTS (SELECT 1 FROM runs WHERE id = events.run_id);

-- name: check_deliveries_without_event
SELECT count(*) FROM deliveries WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = deliveries.event_id);

-- name: check_keys_without_run
SELECT count(*) FROM idempotency_keys WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = idempotency_keys.run_id);
