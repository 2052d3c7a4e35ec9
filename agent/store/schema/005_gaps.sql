-- An uplink delivers new readings first: below its cursor there may be gaps that it has yet to deliver.
-- `rejected`: how many readings its centre would never take. A cursor of before has no gaps: it is as it was.

ALTER TABLE cursor ADD COLUMN gaps TEXT NOT NULL DEFAULT '[]';  -- JSON: [[first seq, last seq], ...]
ALTER TABLE cursor ADD COLUMN rejected INTEGER NOT NULL DEFAULT 0;

-- Readings that a centre will never take, kept aside with its reason; the newest thousand.
CREATE TABLE rejected (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    uplink      TEXT NOT NULL,
    rejected_ms INTEGER NOT NULL,
    device      TEXT NOT NULL,
    point_group TEXT NOT NULL,
    time_ms     INTEGER NOT NULL,
    point_values TEXT NOT NULL,  -- JSON: {point: value}
    reason      TEXT NOT NULL
);
