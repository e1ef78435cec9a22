-- Events are listed in the order in which they were committed; ids tell the time at which they were made.
ALTER TABLE events ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
UPDATE events SET position = CAST(created_at * 1000000 AS INTEGER);
CREATE INDEX events_workspace ON events (workspace, position, id);
