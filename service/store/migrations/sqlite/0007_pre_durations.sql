-- What has been learned of how long tasks take, by kind: a node, or a node with the inputs that tell its tasks apart.
CREATE TABLE sketches (
    kind TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    learned_at REAL NOT NULL,
    doc TEXT NOT NULL
);
