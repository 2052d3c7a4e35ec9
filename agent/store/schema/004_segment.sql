-- Sealed history. A chunk is a stretch of the log that was taken out of it; its readings are in one
-- segment per group, column by column (store/columns.py). Chunks never share a seq with each other or
-- with the log.

CREATE TABLE chunk (
    first_seq INTEGER PRIMARY KEY,
    last_seq  INTEGER NOT NULL,
    from_ms   INTEGER NOT NULL,  -- the oldest and the newest time in it
    to_ms     INTEGER NOT NULL,
    readings  INTEGER NOT NULL,
    thinned   INTEGER NOT NULL   -- how often every second reading of it was given up
);

CREATE TABLE segment (
    id       INTEGER PRIMARY KEY,
    chunk    INTEGER NOT NULL REFERENCES chunk (first_seq),
    group_id INTEGER NOT NULL REFERENCES point_group (id),
    from_ms  INTEGER NOT NULL,
    to_ms    INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    seqs     BLOB NOT NULL,
    times    BLOB NOT NULL,
    quality  BLOB NOT NULL
);

CREATE INDEX segment_chunk ON segment (chunk);
CREATE INDEX segment_time ON segment (group_id, from_ms, to_ms);

CREATE TABLE segment_column (
    id   INTEGER PRIMARY KEY,  -- the segment's id * 65536 + the point's place in its group
    body BLOB NOT NULL
);
