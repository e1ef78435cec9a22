-- name: run_insert
INSERT INTO runs (id, workspace, node, lane, state, reference, group_id, callback_token,
                  created_at, due_at, deadline_at, leased_by, doc)
VALUES (:id, :workspace, :node, :lane, :state, :reference, :group_id, :callback_token,
        :created_at, :due_at, :deadline_at, :leased_by, :doc);

-- name: run_update
-- The version makes it a compare-and-set, whoever else may write. News that move neither
-- state nor due time leave the run to whoever has it in hand.
UPDATE runs SET state = ?3, due_at = ?4, deadline_at = ?5, doc = ?7, version = version + 1,
                leased_by = CASE WHEN state = ?3 AND due_at IS ?4 THEN leased_by ELSE ?6 END
WHERE id = ?1 AND version = ?2;

-- name: run_get
SELECT doc, due_at FROM runs WHERE id = :id;

-- name: run_seen
SELECT doc, version, due_at FROM runs WHERE id = :k1;

-- name: run_by_token
SELECT id, node FROM runs WHERE callback_token = :token;

-- name: runs_list
-- The narrowest word that is given finds its rows by an index of its own.
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND id < coalesce(:before, '~')
  AND (:state IS NULL OR state = :state)
  AND (:node IS NULL OR node = :node)
  AND (:reference IS NULL OR reference = :reference)
  AND (:group_id IS NULL OR group_id = :group_id)
ORDER BY id DESC LIMIT :limit;

-- name: runs_list_of_state
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND state = +:state AND id < coalesce(:before, '~')
  AND (:node IS NULL OR node = :node)
  AND (:reference IS NULL OR reference = :reference)
  AND (:group_id IS NULL OR group_id = :group_id)
ORDER BY id DESC LIMIT :limit;

-- name: runs_list_of_node
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND node = :node AND id < coalesce(:before, '~')
  AND (:state IS NULL OR state = :state)
  AND (:reference IS NULL OR reference = :reference)
  AND (:group_id IS NULL OR group_id = :group_id)
ORDER BY id DESC LIMIT :limit;

-- name: runs_list_of_reference
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND reference = :reference AND id < coalesce(:before, '~')
  AND (:state IS NULL OR state = :state)
  AND (:node IS NULL OR node = :node)
  AND (:group_id IS NULL OR group_id = :group_id)
ORDER BY id DESC LIMIT :limit;

-- name: runs_list_of_group
SELECT doc, due_at FROM runs
WHERE workspace = :workspace AND group_id = :group_id AND id < coalesce(:before, '~')
  AND (:state IS NULL OR state = :state)
  AND (:node IS NULL OR node = :node)
  AND (:reference IS NULL OR reference = :reference)
ORDER BY id DESC LIMIT :limit;

-- name: runs_due_lanes
-- One step through the index for each lane, however many runs it has. The `+` hides the state from SQLite, which would
-- prepare the statement anew for each, in case an index of the runs of one state fits; so it does elsewhere.
WITH RECURSIVE lanes (lane) AS (
    SELECT min(lane) FROM runs WHERE state = +:state AND due_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(lane) FROM runs WHERE state = +:state AND due_at IS NOT NULL AND lane > lanes.lane)
    FROM lanes WHERE lane IS NOT NULL
)
SELECT lane FROM lanes
WHERE EXISTS (SELECT 1 FROM runs WHERE state = +:state AND runs.lane = lanes.lane AND due_at <= :now);

-- name: runs_take
-- Queued runs that are decided on at once, in the same transaction, so no lease is needed.
SELECT doc, version, due_at FROM runs WHERE state = 'queued' AND lane = :lane AND due_at <= :now
ORDER BY due_at LIMIT :limit;

-- name: runs_claim
-- Moving the due time is the lease: a process that dies leaves the run to be found again.
UPDATE runs SET due_at = :lease_until, leased_by = :owner, version = version + 1
WHERE id IN (SELECT id FROM runs WHERE state = +:state AND lane = :lane AND due_at <= :until
               AND (due_at <= :now OR leased_by IS NULL)
               AND (:nodes IS NULL OR node IN (SELECT value FROM json_each(:nodes)))
             ORDER BY due_at LIMIT :limit)
RETURNING doc;

-- name: runs_wake
-- Few runs wait for input at a time; `runs_parked` holds no others.
UPDATE runs SET due_at = :now, version = version + 1 WHERE state = 'running' AND due_at IS NULL AND lane = :lane
  AND doc ->> '$.upstream_task_id' = :task_id;

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
-- Runs that are being submitted by nobody who is at work. A file has one process, so whoever is enrolled lives.
SELECT doc, version, due_at FROM runs
WHERE state = 'submitting'
  AND (leased_by IS NULL OR leased_by NOT IN (SELECT id FROM replicas))
LIMIT :limit;

-- name: runs_resting
SELECT id FROM runs WHERE id IN (SELECT value FROM json_each(:ids))
  AND (deadline_at IS NULL OR state = 'submit_unknown' OR (state = 'running' AND due_at IS NULL));

-- name: runs_counts
SELECT state, count(*) FROM runs WHERE state IN ('queued', 'submitting', 'running', 'submit_unknown') GROUP BY state;

-- name: runs_release
-- Running tasks are looked at again soon, those that wait for input too: a callback may have come, or the node that
-- goes on with them may have been called, while nobody was there to take note of it. So many at a time, since a
-- statement must not last.
UPDATE runs SET due_at = min(coalesce(due_at, :now), :now), leased_by = NULL, version = version + 1
WHERE id IN (SELECT id FROM runs
             WHERE state = 'running' AND (due_at IS NULL OR due_at > :now OR leased_by IS NOT NULL)
               AND (leased_by IS NULL OR leased_by NOT IN (SELECT id FROM replicas))
             UNION ALL
             SELECT id FROM runs WHERE state <> 'running' AND due_at IS NOT NULL AND leased_by IS NOT NULL
               AND leased_by NOT IN (SELECT id FROM replicas)
             LIMIT :limit);

-- name: runs_release_of
UPDATE runs SET due_at = min(coalesce(due_at, :now), :now), leased_by = NULL, version = version + 1
WHERE id IN (SELECT id FROM runs WHERE due_at IS NOT NULL AND leased_by IN (SELECT value FROM json_each(:owners))
             UNION SELECT id FROM runs WHERE state = 'running' AND due_at IS NULL);

-- name: input_insert
INSERT INTO run_inputs (run_id, input) VALUES (:id, :input);

-- name: input_get
SELECT input FROM run_inputs WHERE run_id = :run_id;

-- name: event_insert
-- There is one writer, so positions grow in the order of commits, whatever the clock does. They begin at the time, so
-- that they grow even when all earlier events have been pruned.
INSERT INTO events (id, workspace, run_id, sequence, type, created_at, body, position)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, max(CAST(?6 * 1000000 AS INTEGER),
        1 + coalesce((SELECT max(position) FROM events WHERE workspace = ?2), 0)));

-- name: entries_insert
INSERT INTO timeline (run_id, at, kind, detail, delivery_id) VALUES (?, ?, ?, ?, ?);

-- name: timeline_list
SELECT at, kind, detail FROM timeline WHERE run_id = :run_id ORDER BY id LIMIT :limit;

-- name: callback_insert
-- The first hundred of a run tell its story; more would only fill the disk. Those have no body here, and what must not be
-- NULL is passed by: a SELECT that reads the table it writes to would go through a temporary one.
INSERT OR IGNORE INTO callbacks (run_id, received_at, body)
VALUES (?1, ?2, CASE WHEN (SELECT count(*) FROM callbacks WHERE run_id = ?1) < 100 THEN ?3 END);

-- name: delivery_insert
INSERT INTO deliveries (id, event_id, run_id, workspace, url, target, state, due_at, profile, method, until, leased_by,
                        first_at)
VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?);

-- name: has_endpoints
SELECT 1 FROM endpoints WHERE state = 'enabled' LIMIT 1;

-- name: fan_out
-- A delivery for each endpoint that wants an event; the time in its id is the event's.
INSERT INTO deliveries (id, event_id, run_id, workspace, url, endpoint_id, target, state, due_at)
SELECT 'dlv_' || substr(?1, 5, 10) || lower(hex(randomblob(8))), ?1, ?2, ?3, '', id, id, 'pending', ?8
FROM endpoints
WHERE workspace IN (?3, '*') AND state = 'enabled' AND (expires_at IS NULL OR expires_at > ?8)
  AND ?4 IN (SELECT value FROM json_each(types))
  AND (nodes = '[]' OR EXISTS (SELECT 1 FROM json_each(nodes) WHERE ?5 LIKE value ESCAPE '\'))
  AND (reference_prefix IS NULL OR substr(?6, 1, length(reference_prefix)) = reference_prefix)
  AND (group_key IS NULL OR group_key = ?7)
ON CONFLICT DO NOTHING;

-- name: deliveries_targets
-- One step through the index for each receiver that something is pending for, however much that is.
WITH RECURSIVE pending (target) AS (
    SELECT min(target) FROM deliveries WHERE due_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(target) FROM deliveries WHERE due_at IS NOT NULL AND target > pending.target)
    FROM pending WHERE target IS NOT NULL
)
SELECT pending.target, due.workspace, endpoints.concurrency, endpoints.rate_per_s
FROM pending
JOIN deliveries AS due ON due.id = (SELECT id FROM deliveries WHERE target = pending.target AND due_at <= :now
                                    ORDER BY due_at LIMIT 1)
LEFT JOIN endpoints ON endpoints.id = pending.target
ORDER BY due.due_at;

-- name: deliveries_claim
-- Moving the due time is the lease: a process that dies leaves the delivery to be found again.
WITH wanted (target, room) AS (
    SELECT value, json_extract(:rooms, '$[' || key || ']') FROM json_each(:targets)
), placed AS (
    SELECT due.id, wanted.room, row_number() OVER (PARTITION BY wanted.target ORDER BY due.due_at) AS place
    FROM wanted CROSS JOIN deliveries AS due
      ON due.id IN (SELECT id FROM deliveries WHERE target = wanted.target AND due_at <= :now
                    ORDER BY due_at LIMIT :most)
)
UPDATE deliveries SET due_at = :lease_until, leased_by = :owner, first_at = coalesce(first_at, :now)
WHERE id IN (SELECT id FROM placed WHERE place <= room)
RETURNING id, event_id, run_id, workspace, url, endpoint_id, target, attempts, profile, method, first_at, until;

-- name: deliveries_list
-- The one word that must be given finds its rows by an index of its own.
SELECT * FROM delivery_log WHERE workspace = :workspace
  AND (:endpoint IS NULL OR endpoint_id = :endpoint)
  AND (:run IS NULL OR run_id = :run)
  AND (:event IS NULL OR event_id = :event)
  AND (:state IS NULL OR state = :state)
  AND id < coalesce(:before, '~')
ORDER BY id DESC LIMIT :limit;

-- name: deliveries_list_of_endpoint
SELECT * FROM delivery_log WHERE endpoint_id = :endpoint AND +workspace = :workspace
  AND (:run IS NULL OR run_id = :run)
  AND (:event IS NULL OR event_id = :event)
  AND (:state IS NULL OR state = :state)
  AND id < coalesce(:before, '~')
ORDER BY id DESC LIMIT :limit;

-- name: deliveries_list_of_run
SELECT * FROM delivery_log WHERE run_id = :run AND +workspace = :workspace
  AND (:endpoint IS NULL OR endpoint_id = :endpoint)
  AND (:event IS NULL OR event_id = :event)
  AND (:state IS NULL OR state = :state)
  AND id < coalesce(:before, '~')
ORDER BY id DESC LIMIT :limit;

-- name: deliveries_list_of_event
SELECT * FROM delivery_log WHERE event_id = :event AND +workspace = :workspace
  AND (:endpoint IS NULL OR endpoint_id = :endpoint)
  AND (:run IS NULL OR run_id = :run)
  AND (:state IS NULL OR state = :state)
  AND id < coalesce(:before, '~')
ORDER BY id DESC LIMIT :limit;

-- name: deliveries_list_of_state
-- Those that have not been delivered, in one of the two states of such.
SELECT * FROM delivery_log WHERE workspace = :workspace AND state = +:state AND state <> 'delivered'
  AND (:endpoint IS NULL OR endpoint_id = :endpoint)
  AND (:run IS NULL OR run_id = :run)
  AND (:event IS NULL OR event_id = :event)
  AND id < coalesce(:before, '~')
ORDER BY id DESC LIMIT :limit;

-- name: delivery_get
SELECT * FROM delivery_log WHERE id = :id AND workspace = :workspace;

-- name: delivery_attempts
SELECT at, kind, detail FROM timeline WHERE delivery_id = :id ORDER BY id LIMIT :limit;

-- name: deliveries_again
-- What is under way is left to who has it in hand.
UPDATE deliveries SET state = 'pending', due_at = :now, leased_by = NULL, first_at = NULL, attempts = 0
WHERE id IN (SELECT value FROM json_each(:ids)) AND leased_by IS NULL;

-- name: event_replay
-- To all that it went to.
UPDATE deliveries SET state = 'pending', due_at = :now, first_at = NULL, attempts = 0
WHERE event_id = :event AND workspace = :workspace AND (:endpoint IS NULL OR endpoint_id = :endpoint)
  AND leased_by IS NULL;

-- name: event_send
-- To an endpoint that it has not gone to.
INSERT INTO deliveries (id, event_id, run_id, workspace, url, endpoint_id, target, state, due_at)
SELECT 'dlv_' || substr(events.id, 5, 10) || lower(hex(randomblob(8))), events.id, events.run_id, events.workspace, '',
       endpoints.id, endpoints.id, 'pending', :now
FROM events JOIN endpoints ON endpoints.id = :endpoint AND endpoints.workspace IN (events.workspace, '*')
WHERE events.id = :event AND events.workspace = :workspace
ON CONFLICT DO NOTHING;

-- name: endpoint_recover
-- What was made since the moment and given up, or was given up since, goes out again.
UPDATE deliveries SET state = 'pending', due_at = :now, first_at = NULL, attempts = 0
WHERE endpoint_id = :endpoint AND (id >= :first_delivery OR attempted_at >= :since) AND state = 'failed';

-- name: endpoint_catch_up
-- What came while nothing was sent goes out for the first time, oldest first.
INSERT INTO deliveries (id, event_id, run_id, workspace, url, endpoint_id, target, state, due_at)
SELECT 'dlv_' || substr(events.id, 5, 10) || lower(hex(randomblob(8))), events.id, events.run_id, events.workspace, '',
       endpoints.id, endpoints.id, 'pending', :now
FROM endpoints
JOIN events ON endpoints.workspace IN (events.workspace, '*') AND events.id >= :first_event
LEFT JOIN runs ON runs.id = events.run_id
LEFT JOIN groups ON groups.id = events.run_id
WHERE endpoints.id = :endpoint
  AND events.type IN (SELECT value FROM json_each(endpoints.types)) AND events.run_id <> endpoints.id
  AND (endpoints.nodes = '[]' OR EXISTS (SELECT 1 FROM json_each(endpoints.nodes) WHERE runs.node LIKE value ESCAPE '\'))
  AND (endpoints.reference_prefix IS NULL
       OR substr(coalesce(runs.reference, groups.doc ->> '$.reference'), 1, length(endpoints.reference_prefix))
          = endpoints.reference_prefix)
  AND (endpoints.group_key IS NULL OR endpoints.group_key IN (runs.group_id, groups.group_key))
ORDER BY events.id
ON CONFLICT DO NOTHING;

-- name: event_body
SELECT type, body FROM events WHERE id = :id AND workspace = :workspace;

-- name: events_get
SELECT id, type, body FROM events WHERE id IN (SELECT value FROM json_each(:ids));

-- name: events_floor
-- How far down so many events reach.
SELECT position FROM events WHERE workspace = :workspace AND (position, id) < (:place, :id)
ORDER BY position DESC, id DESC LIMIT 1 OFFSET :window;

-- name: events_before
SELECT position, id, type, body FROM events
WHERE workspace = :workspace AND (position, id) < (:place, :id) AND position >= :floor
  AND type IN (SELECT value FROM json_each(:types))
  AND ((:node IS NULL AND :reference IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference IS NULL OR reference = :reference)))
ORDER BY position DESC, id DESC LIMIT :limit;

-- name: events_before_of_seldom
SELECT position, id, type, body FROM events
WHERE workspace = :workspace AND (position, id) < (:place, :id) AND position >= :floor
  AND type IN (SELECT value FROM json_each(:types))
  AND type <> 'run.queued' AND type <> 'run.running' AND type <> 'run.progressed' AND type <> 'run.succeeded'
  AND ((:node IS NULL AND :reference IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference IS NULL OR reference = :reference)))
ORDER BY position DESC, id DESC LIMIT :limit;

-- name: events_after
SELECT position, id, type, body FROM events
WHERE workspace = :workspace AND (position, id) > (:place, :id)
  AND type IN (SELECT value FROM json_each(:types))
  AND ((:node IS NULL AND :reference IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference IS NULL OR reference = :reference)))
ORDER BY position, id LIMIT :limit;

-- name: events_before_of_run
-- A run has few events: its own index finds them, and the plus keeps the other one out.
SELECT position, id, type, body FROM events
WHERE run_id = :run AND +workspace = :workspace AND (position, id) < (:place, :id)
  AND type IN (SELECT value FROM json_each(:types))
  AND ((:node IS NULL AND :reference IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference IS NULL OR reference = :reference)))
ORDER BY position DESC, id DESC LIMIT :limit;

-- name: events_after_of_run
SELECT position, id, type, body FROM events
WHERE run_id = :run AND +workspace = :workspace AND (position, id) > (:place, :id)
  AND type IN (SELECT value FROM json_each(:types))
  AND ((:node IS NULL AND :reference IS NULL)
       OR EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id
                    AND (:node IS NULL OR node LIKE :node ESCAPE '\')
                    AND (:reference IS NULL OR reference = :reference)))
ORDER BY position, id LIMIT :limit;

-- name: events_newest
SELECT position, id FROM events WHERE workspace = :workspace ORDER BY position DESC, id DESC LIMIT 1;

-- name: event_place
SELECT position FROM events WHERE id = :id AND workspace = :workspace;

-- name: events_later
-- No position is below its event's time.
SELECT position FROM events WHERE workspace = :workspace AND position >= :at_us ORDER BY position LIMIT 1;

-- name: delivery_update
UPDATE deliveries SET state = ?3, attempts = ?4, due_at = ?5, outcome = ?6, status = ?7, attempted_at = ?8,
                      leased_by = NULL
WHERE id = ?1 AND state = 'pending' AND (due_at = ?2 OR ?3 = 'delivered');

-- name: deliveries_release
UPDATE deliveries SET due_at = :now, leased_by = NULL
WHERE due_at IS NOT NULL AND leased_by IS NOT NULL AND leased_by NOT IN (SELECT id FROM replicas);

-- name: deliveries_release_of
UPDATE deliveries SET due_at = :now, leased_by = NULL
WHERE due_at IS NOT NULL AND leased_by IN (SELECT value FROM json_each(:owners));

-- name: endpoint_insert
INSERT INTO endpoints (id, workspace, url_hash, identity, state, types, nodes, reference_prefix, group_key, expires_at,
                       due_at, concurrency, rate_per_s, doc)
VALUES (:id, :workspace, :url_hash, :identity, :state, :types, :nodes, :reference_prefix, :group_key, :expires_at,
        :due_at, :concurrency, :rate_per_s, :doc)
ON CONFLICT DO NOTHING;

-- name: endpoint_same
SELECT doc FROM endpoints WHERE workspace = :workspace AND identity = :identity;

-- name: endpoints_get
SELECT doc FROM endpoints WHERE id IN (SELECT value FROM json_each(:ids));

-- name: endpoint_seen
SELECT doc, version FROM endpoints WHERE id = :k1;

-- name: endpoint_update
UPDATE endpoints SET url_hash = :url_hash, identity = :identity, state = :state, types = :types, nodes = :nodes,
                     reference_prefix = :reference_prefix, group_key = :group_key, expires_at = :expires_at,
                     due_at = :due_at, concurrency = :concurrency, rate_per_s = :rate_per_s, doc = :doc,
                     version = version + 1
WHERE id = :id AND version = :version;

-- name: endpoints_list
SELECT doc FROM endpoints
WHERE workspace = :workspace AND (:url_hash IS NULL OR url_hash = :url_hash) AND id < coalesce(:before, '~')
ORDER BY id DESC LIMIT :limit;

-- name: endpoints_all
SELECT doc FROM endpoints WHERE id > :after ORDER BY id LIMIT :limit;

-- name: endpoint_delete
DELETE FROM endpoints WHERE id = :id AND workspace = :workspace;

-- name: endpoints_due
SELECT doc FROM endpoints WHERE due_at <= :now ORDER BY due_at LIMIT :limit;

-- name: endpoints_of_progress
SELECT DISTINCT workspace FROM endpoints
WHERE state = 'enabled' AND 'run.progressed' IN (SELECT value FROM json_each(types));

-- name: group_insert
INSERT INTO groups (id, workspace, group_key, identity, state, due_at, doc)
VALUES (:id, :workspace, :group_key, :identity, :state, :due_at, :doc)
ON CONFLICT DO NOTHING;

-- name: group_update
UPDATE groups SET state = :state, due_at = :due_at, doc = :doc, version = version + 1
WHERE id = :id AND version = :version;

-- name: group_seen
SELECT doc, version FROM groups WHERE id = :k1;

-- name: group_get
SELECT doc FROM groups WHERE id = :key AND workspace = :workspace
UNION ALL
SELECT doc FROM groups WHERE workspace = :workspace AND group_key = :key;

-- name: group_of_identity
SELECT doc FROM groups WHERE workspace = :workspace AND identity = :identity;

-- name: groups_list
SELECT doc FROM groups WHERE workspace = :workspace AND id < coalesce(:before, '~')
ORDER BY id DESC LIMIT :limit;

-- name: groups_list_of_state
SELECT doc FROM groups WHERE workspace = :workspace AND state = :state AND id < coalesce(:before, '~')
ORDER BY id DESC LIMIT :limit;

-- name: group_states
SELECT group_id, state, count(*) FROM runs
WHERE workspace = :workspace AND group_id IN (SELECT value FROM json_each(:keys))
GROUP BY group_id, state;

-- name: group_runs
SELECT doc, due_at FROM runs WHERE workspace = :workspace AND group_id = :key ORDER BY id LIMIT :limit;

-- name: news_insert
INSERT INTO group_news (workspace, group_key) VALUES (?, ?);

-- name: news_list
SELECT news.id, groups.doc FROM group_news AS news
LEFT JOIN groups ON groups.workspace = news.workspace AND groups.group_key = news.group_key
ORDER BY news.id LIMIT :limit;

-- name: groups_due
SELECT doc FROM groups WHERE due_at <= :now ORDER BY due_at LIMIT :limit;

-- name: news_forget
DELETE FROM group_news WHERE id IN (SELECT value FROM json_each(:ids));

-- name: start_seen
-- What a start meets: the run that its idempotency key has, and how many runs its API key has started today.
SELECT held.fingerprint, runs.doc, runs.due_at, used.runs
FROM (SELECT 1)
LEFT JOIN (SELECT fingerprint, run_id FROM idempotency_keys
           WHERE scope = :k1 AND key = :k2 AND expires_at > :k5) AS held ON true
LEFT JOIN runs ON runs.id = held.run_id
LEFT JOIN (SELECT runs FROM key_usage WHERE key_id = :k3 AND day = :k4) AS used ON true;

-- name: run_of_key
SELECT held.fingerprint, runs.doc, runs.due_at FROM idempotency_keys AS held JOIN runs ON runs.id = held.run_id
WHERE held.scope = :scope AND held.key = :key AND held.expires_at > :now;

-- name: idempotency_put
INSERT OR REPLACE INTO idempotency_keys (scope, key, fingerprint, run_id, created_at, expires_at)
VALUES (:scope, :key, :fingerprint, :id, :keyed_at, :expires_at);

-- name: usage_count
INSERT INTO key_usage (key_id, day, runs) VALUES (:key_id, :day, 1)
ON CONFLICT (key_id, day) DO UPDATE SET runs = runs + 1;

-- name: replica_beat
INSERT INTO replicas (id, seen_at) VALUES (:owner, :now) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at;

-- name: replica_seen
UPDATE replicas SET seen_at = :now WHERE id = :owner;

-- name: replicas_alive
SELECT count(*) FROM replicas;

-- name: replicas_before
SELECT count(*) FROM replicas WHERE id < :owner;

-- name: replicas_dead
SELECT id FROM replicas WHERE false;

-- name: replicas_forget
DELETE FROM replicas WHERE id IN (SELECT value FROM json_each(:owners));

-- name: replicas_forget_all
DELETE FROM replicas;

-- name: key_insert
INSERT INTO api_keys (id, name, workspace, hash, hint, scope, nodes, runs_per_day, created_at)
VALUES (:id, :name, :workspace, :hash, :hint, :scope, :nodes, :runs_per_day, :created_at)
ON CONFLICT DO NOTHING;

-- name: key_by_hash
SELECT id, name, workspace, hint, scope, nodes, runs_per_day, created_at, revoked_at FROM api_keys WHERE hash = :hash AND revoked_at IS NULL;

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
  AND coalesce(doc ->> '$.finished_at', created_at) < :before
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE run_id = runs.id AND state = 'pending')
  AND NOT EXISTS (SELECT 1 FROM idempotency_keys AS held WHERE held.run_id = runs.id AND held.expires_at > :now)
  AND NOT EXISTS (SELECT 1 FROM runs AS flow
                  WHERE flow.id = runs.doc ->> '$.parent' AND (flow.deadline_at IS NOT NULL OR flow.due_at IS NOT NULL))
  AND NOT EXISTS (SELECT 1 FROM groups WHERE groups.workspace = runs.workspace AND groups.group_key = runs.group_id
                    AND (groups.state = 'open' OR groups.due_at IS NOT NULL))
ORDER BY id LIMIT :limit;

-- name: groups_forgettable
-- A group stays while it is open or has runs to cancel, while its event is on its way, and while the idempotency key
-- holds that it was made with, be it its own or a run's.
SELECT id FROM groups
WHERE id > :after AND state = 'completed' AND due_at IS NULL AND doc ->> '$.completed_at' < :before
  AND (identity IS NULL OR doc ->> '$.created_at' < :held_since)
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE run_id = groups.id AND state = 'pending')
  AND NOT EXISTS (SELECT 1 FROM runs JOIN idempotency_keys AS held ON held.run_id = runs.id AND held.expires_at > :now
                  WHERE runs.workspace = groups.workspace AND runs.group_id = groups.group_key)
ORDER BY id LIMIT :limit;

-- name: events_forgettable
-- Those of endpoints, which have nothing else that grows old.
SELECT id FROM events
WHERE type = 'endpoint.disabled' AND id > :after AND created_at < :before
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id AND state = 'pending')
ORDER BY id LIMIT :limit;

-- name: groups_count_of
SELECT count(*) FROM groups WHERE id IN (SELECT value FROM json_each(:ids));

-- name: groups_delete_of
DELETE FROM groups WHERE id IN (SELECT value FROM json_each(:ids));

-- name: told_events_count_of
SELECT count(*) FROM events WHERE id IN (SELECT value FROM json_each(:ids));

-- name: told_events_delete_of
DELETE FROM events WHERE id IN (SELECT value FROM json_each(:ids));

-- name: told_deliveries_count_of
SELECT count(*) FROM deliveries WHERE event_id IN (SELECT value FROM json_each(:ids));

-- name: told_deliveries_delete_of
DELETE FROM deliveries WHERE event_id IN (SELECT value FROM json_each(:ids));

-- name: told_timeline_count_of
SELECT count(*) FROM timeline
WHERE delivery_id IN (SELECT id FROM deliveries WHERE event_id IN (SELECT value FROM json_each(:ids)));

-- name: told_timeline_delete_of
DELETE FROM timeline
WHERE delivery_id IN (SELECT id FROM deliveries WHERE event_id IN (SELECT value FROM json_each(:ids)));

-- name: runs_count_of
SELECT count(*) FROM runs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: inputs_count_of
SELECT count(*) FROM run_inputs WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: events_count_of
SELECT count(*) FROM events WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: deliveries_count_of
SELECT count(*) FROM deliveries WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: timeline_count_of
SELECT count(*) FROM timeline WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: callbacks_count_of
SELECT count(*) FROM callbacks WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: runs_delete_of
DELETE FROM runs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: inputs_delete_of
DELETE FROM run_inputs WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: events_delete_of
DELETE FROM events WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: deliveries_delete_of
DELETE FROM deliveries WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: timeline_delete_of
DELETE FROM timeline WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: callbacks_delete_of
DELETE FROM callbacks WHERE run_id IN (SELECT value FROM json_each(:ids));

-- name: idempotency_count
SELECT count(*) FROM idempotency_keys WHERE expires_at <= :now;

-- name: idempotency_delete
DELETE FROM idempotency_keys WHERE (scope, key) IN
  (SELECT scope, key FROM idempotency_keys WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit);

-- name: usage_delete
DELETE FROM key_usage WHERE day < :day;

-- name: sketches_get
SELECT kind, doc, version FROM sketches WHERE kind IN (SELECT value FROM json_each(:kinds));

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
SELECT count(*) FROM events WHERE run_id LIKE 'run\_%' ESCAPE '\' AND NOT EXISTS (SELECT 1 FROM runs WHERE id = events.run_id);

-- name: check_deliveries_without_event
SELECT count(*) FROM deliveries WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = deliveries.event_id);

-- name: check_keys_without_run
SELECT count(*) FROM idempotency_keys WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = idempotency_keys.run_id);
