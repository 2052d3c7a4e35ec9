-- What each job was last due for, its last runs, and what a person wants of it.

CREATE TABLE job (
    name        TEXT PRIMARY KEY,
    words       TEXT NOT NULL,      -- its schedule; one that was changed has missed nothing
    last_due_ms INTEGER NOT NULL,
    paused      INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE run (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    job        TEXT NOT NULL,
    due_ms     INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms   INTEGER,             -- NULL: under way, or cut off with the agent
    result     TEXT NOT NULL,
    text       TEXT NOT NULL,
    progress   REAL,
    cpu_s      REAL,
    memory_mb  REAL
);
CREATE INDEX run_of_job ON run (job, id);

CREATE TABLE wish (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    job  TEXT NOT NULL,
    what TEXT NOT NULL              -- run, pause, resume
);
