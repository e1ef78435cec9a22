-- Events are listed in the order of their transactions; those that are there already, by their ids.
ALTER TABLE events ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE events ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
CREATE INDEX events_workspace ON events (workspace, xid, id);
