"""What is in a store that was not there before: for who reads it again and again, and only what is new."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from agent.model import Group


class News(NamedTuple):
    """`last_seq`: the newest reading. `from_ms`: of each group that has new ones, the earliest time that they
    may have; what a module delivers late is among them."""

    last_seq: int
    from_ms: dict[Group, int]


LAST = (
    "SELECT max(coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'reading'), 0),"
    " coalesce((SELECT max(last_seq) FROM chunk), 0))"
)
# A chunk that was sealed since is looked at as a whole: which of its readings are new is not worth asking.
EARLIEST = (
    "SELECT group_id, min(time_ms) FROM reading WHERE seq > ? GROUP BY group_id"
    " UNION ALL SELECT group_id, min(s.from_ms) FROM segment s JOIN chunk c ON s.chunk = c.first_seq"
    " WHERE c.last_seq > ? GROUP BY group_id"
)


def news(db: sqlite3.Connection, after: int) -> tuple[int, dict[int, int]]:
    """What came after the reading `after`, by the ids of groups, as of one moment. sqlite3.Error as usual."""
    db.execute("BEGIN")
    try:
        ((last_seq,),) = db.execute(LAST)
        found: dict[int, int] = {}
        for group_id, time_ms in db.execute(EARLIEST, (after, after)):
            found[group_id] = min(time_ms, found.get(group_id, time_ms))
    finally:
        db.execute("COMMIT")
    return last_seq, found
