-- Since which reading which boot of the box stamps, and with what offset: the time since boot of a
-- reading is its time_ms less the offset of its epoch.

CREATE TABLE epoch (
    first_seq INTEGER PRIMARY KEY,
    boot_id   TEXT NOT NULL,
    offset_ms INTEGER NOT NULL,
    trusted   INTEGER NOT NULL  -- 0: stamped with a clock that nobody vouches for, held back from uplinks
);
