-- Without its group a reading cannot be read: the small table that all others need is kept twice, so that
-- one damaged page does not cost a whole file (store/salvage.py).

CREATE TABLE point_group_again (
    id     INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    name   TEXT NOT NULL,
    layout TEXT NOT NULL
);

INSERT INTO point_group_again SELECT id, device, name, layout FROM point_group;

CREATE TRIGGER point_group_twice AFTER INSERT ON point_group BEGIN
    INSERT OR REPLACE INTO point_group_again VALUES (new.id, new.device, new.name, new.layout);
END;
