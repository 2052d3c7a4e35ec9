-- Who did what, from where. Each entry's hash covers the one before it: a change in the middle shows.

CREATE TABLE entry (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ms INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    who     TEXT NOT NULL,
    peer    TEXT NOT NULL,
    what    TEXT NOT NULL,   -- JSON
    hash    BLOB NOT NULL    -- SHA-256
);
