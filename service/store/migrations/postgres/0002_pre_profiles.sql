-- How a receiver is called, how its answers are understood, when it was first tried, and the deadline of the run, to
-- which some ladders go on.
ALTER TABLE deliveries ADD COLUMN profile text NOT NULL DEFAULT 'standard';
ALTER TABLE deliveries ADD COLUMN method text NOT NULL DEFAULT 'POST';
ALTER TABLE deliveries ADD COLUMN first_at float8;
ALTER TABLE deliveries ADD COLUMN until float8;
