-- What has been learned of how long tasks take, by kind: a node, or a node with the inputs that tell its tasks apart.
CREATE TABLE sketches (
    kind text COLLATE "C" PRIMARY KEY,
    version integer NOT NULL,
    learned_at float8 NOT NULL,
    doc text NOT NULL
);
