-- name: run_insert
INSERT INTO runs (id, workspace, node, lane, state, reference, group_id, callback_token,
                  created_at, due_at, deadline_at, doc)
VALUES (:id, :workspace, :node, :lane, :state, :reference, :group_id, :callback_token,
        :created_at, :due_at, :deadline_at, :doc);

-- name: run_update
-- The version makes it a compare-and-set, whoever else may write.
UPDATE runs SET state = :state, due_at = :due_at, deadline_at = :deadline_at, doc = :doc,
                version = version + 1, leased_by = NULL
WHERE id = :id AND version = :version;

-- name: run_get
SELECT doc, version, due_at FROM runs WHERE id = :id;

-- name: run_by_token
SELECT doc FROM runs WHERE callback_token = :token;

-- name: runs_list
SELECT doc FROM runs
WHERE workspace = :workspace
  AND (:state IS NULL OR state = :state)
  AND (:node IS NULL OR node = :node)
  AND (:reference IS NULL OR reference = :reference)
  AND (:group_id IS NULL OR group_id = :group_id)
  AND (:before IS NULL OR id < :before)
ORDER BY id DESC LIMIT :limit;

-- name: runs_due_lanes
SELECT DISTINCT lane FROM runs WHERE state = :state AND due_at <= :now;

-- name: runs_due
SELECT doc, version, due_at FROM runs WHERE state = :state AND lane = :lane AND due_at <= :now
ORDER BY due_at LIMIT :limit;

-- name: runs_claim
-- Moving the due time is the lease: a process that dies leaves the run to be found again.
UPDATE runs SET due_at = :lease_until, leased_by = :owner
WHERE id IN (SELECT id FROM runs WHERE state = :state AND lane = :lane AND due_at <= :now
               AND (:nodes IS NULL OR node IN (SELECT value FROM json_each(:nodes)))
             ORDER BY due_at LIMIT :limit)
RETURNING doc;

-- name: runs_wake
-- Few runs wait for input at a time; `runs_parked` holds no others.
UPDATE runs SET due_at = :now WHERE state = 'running' AND due_at IS NULL AND lane = :lane
  AND doc ->> '$.upstream_task_id' = :task_id;

-- name: run_due
UPDATE runs SET due_at = :now WHERE id = :id AND state = 'running' AND due_at > :now;

-- name: runs_running
SELECT count(*) FROM runs WHERE lane = :lane AND state IN ('submitting', 'running') AND deadline_at IS NOT NULL;

-- name: runs_expired
SELECT doc, version, due_at FROM runs WHERE deadline_at <= :now AND state <> 'submitting' ORDER BY deadline_at LIMIT :limit;

-- name: runs_in_state
SELECT doc, version, due_at FROM runs WHERE state = :state ORDER BY id LIMIT :limit;

-- name: runs_counts
SELECT state, count(*) FROM runs WHERE deadline_at IS NOT NULL GROUP BY state;

-- name: runs_release
-- Running tasks are looked at again soon, those that wait for input too: a callback may have come, or the node that
-- goes on with them may have been called, while nobody was there to take note of it.
UPDATE runs SET due_at = :now, leased_by = NULL
WHERE state = 'running' OR (due_at IS NOT NULL AND leased_by IS NOT NULL);

-- name: input_insert
INSERT INTO run_inputs (run_id, input) VALUES (:run_id, :input);

-- name: input_get
SELECT input FROM run_inputs WHERE run_id = :run_id;

-- name: event_insert
INSERT INTO events (id, workspace, run_id, sequence, type, created_at, body)
VALUES (:id, :workspace, :run_id, :sequence, :type, :created_at, :body);

-- name: timeline_insert
INSERT INTO timeline (run_id, at, kind, detail) VALUES (:run_id, :at, :kind, :detail);

-- name: timeline_list
SELECT at, kind, detail FROM timeline WHERE run_id = :run_id ORDER BY id LIMIT :limit;

-- name: callback_insert
-- The first hundred of a run tell its story; more would only fill the disk.
INSERT INTO callbacks (run_id, received_at, body) SELECT :run_id, :received_at, :body
WHERE (SELECT count(*) FROM callbacks WHERE run_id = :run_id) < 100;

-- name: delivery_insert
INSERT INTO deliveries (id, event_id, run_id, workspace, url, state, due_at)
VALUES (:id, :event_id, :run_id, :workspace, :url, 'pending', :due_at);

-- name: deliveries_claim
-- Moving the due time is the lease: a process that dies leaves the delivery to be found again.
UPDATE deliveries SET due_at = :lease_until, leased_by = :owner
WHERE id IN (SELECT id FROM deliveries WHERE due_at <= :now ORDER BY due_at LIMIT :limit)
RETURNING id, event_id, run_id, workspace, url, attempts;

-- name: event_body
SELECT type, body FROM events WHERE id = :id;

-- name: delivery_update
UPDATE deliveries SET state = :state, attempts = :attempts, due_at = :due_at, leased_by = NULL
WHERE id = :id AND state = 'pending';

-- name: deliveries_release
UPDATE deliveries SET due_at = :now, leased_by = NULL WHERE leased_by IS NOT NULL;

-- name: idempotency_get
SELECT fingerprint, run_id FROM idempotency_keys WHERE scope = :scope AND key = :key AND created_at > :oldest;

-- name: idempotency_put
INSERT OR REPLACE INTO idempotency_keys (scope, key, fingerprint, run_id, created_at)
VALUES (:scope, :key, :fingerprint, :run_id, :created_at);

-- name: key_insert
INSERT INTO api_keys (id, name, workspace, hash, hint, created_at)
VALUES (:id, :name, :workspace, :hash, :hint, :created_at);

-- name: key_by_hash
SELECT id, name, workspace, hint, created_at, revoked_at FROM api_keys WHERE hash = :hash AND revoked_at IS NULL;

-- name: keys_list
SELECT id, name, workspace, hint, created_at, revoked_at FROM api_keys ORDER BY created_at;

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
-- events is on its way, while its idempotency key holds, and while the flow that it is a step of is not over.
SELECT doc FROM runs
WHERE id > :after AND id < :youngest AND deadline_at IS NULL AND due_at IS NULL
  AND coalesce(doc ->> '$.finished_at', created_at) < :before
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE run_id = runs.id AND state = 'pending')
  AND NOT EXISTS (SELECT 1 FROM idempotency_keys AS held
                  WHERE held.created_at = runs.created_at AND held.run_id = runs.id AND held.created_at > :keys_before)
  AND NOT EXISTS (SELECT 1 FROM runs AS flow
                  WHERE flow.id = runs.doc ->> '$.parent' AND (flow.deadline_at IS NOT NULL OR flow.due_at IS NOT NULL))
ORDER BY id LIMIT :limit;

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
SELECT count(*) FROM idempotency_keys WHERE created_at <= :keys_before;

-- name: idempotency_delete
DELETE FROM idempotency_keys WHERE (scope, key) IN
  (SELECT scope, key FROM idempotency_keys WHERE created_at <= :keys_before ORDER BY created_at LIMIT :limit);

-- name: check_runs_without_input
SELECT count(*) FROM runs WHERE NOT EXISTS (SELECT 1 FROM run_inputs WHERE run_id = runs.id);

-- name: check_inputs_without_run
SELECT count(*) FROM run_inputs WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = run_inputs.run_id);

-- name: check_events_without_run
SELECT count(*) FROM events WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = events.run_id);

-- name: check_deliveries_without_event
SELECT count(*) FROM deliveries WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = deliveries.event_id);

-- name: check_keys_without_run
SELECT count(*) FROM idempotency_keys WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = idempotency_keys.run_id);
