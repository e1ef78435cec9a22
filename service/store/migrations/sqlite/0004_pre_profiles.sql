-- How a receiver is called, how its answers are understood, when it was first tried, and the deadline of the run, to
-- which some ladders go on.
ALTER TABLE deliveries ADD COLUMN profile TEXT NOT NULL DEFAULT 'standard';
ALTER TABLE deliveries ADD COLUMN method TEXT NOT NULL DEFAULT 'POST';
ALTER TABLE deliveries ADD COLUMN first_at REAL;
ALTER TABLE deliveries ADD COLUMN until REAL;
