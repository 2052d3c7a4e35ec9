-- What is active now (replaced as it changes), what happened (appended), and how far each outlet has told it.

CREATE TABLE alarm (
    id         TEXT PRIMARY KEY,
    unseen     INTEGER NOT NULL,
    suppressed INTEGER NOT NULL,
    body       TEXT NOT NULL    -- JSON
) WITHOUT ROWID;

CREATE TABLE event (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ms INTEGER NOT NULL,
    id      TEXT NOT NULL,
    body    TEXT NOT NULL       -- JSON
);
CREATE INDEX event_time ON event (time_ms);

CREATE TABLE cursor (
    outlet TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;
