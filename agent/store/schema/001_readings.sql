-- The log: readings in the order they came, appended only.
--
-- AUTOINCREMENT keeps `seq` growing even when the table is emptied: an uplink's cursor is a `seq`,
-- and a number used twice would make it skip what it never sent.

CREATE TABLE point_group (
    id     INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    name   TEXT NOT NULL,
    layout TEXT NOT NULL,  -- JSON: the device's type, the points in the order of the packed values
    UNIQUE (device, name, layout)
);

CREATE TABLE reading (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL REFERENCES point_group (id),
    time_ms  INTEGER NOT NULL,
    quality  INTEGER NOT NULL,
    packed   BLOB NOT NULL  -- one little-endian float64 per point; NaN: not available
);

CREATE TABLE cursor (
    name TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL  -- everything up to here was delivered
) WITHOUT ROWID;

CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) WITHOUT ROWID;
