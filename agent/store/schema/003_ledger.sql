-- What became of every reading, counted: one row per hour (Unix time / 3 600 000), so that a commit
-- rewrites one small row. `counts` is zlib of JSON: {device: {account: readings}}.

CREATE TABLE ledger (
    hour   INTEGER PRIMARY KEY,
    counts BLOB NOT NULL
);
