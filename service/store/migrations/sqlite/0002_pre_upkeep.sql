-- What a run leaves behind is found by its run, keys by their age; a key is as old as the run that it started.
CREATE INDEX deliveries_run ON deliveries (run_id);
CREATE INDEX idempotency_age ON idempotency_keys (created_at, run_id);
