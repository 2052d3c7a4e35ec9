"""What every uplink has yet to deliver, and what its centre would never take.

Rules.
1. Changes are made in memory and kept with the next commit, in the transaction of the readings they
   are about: after a power cut an uplink is behind, never ahead of the log.
2. What was passed in doubt is passed in memory only: on disk it is yet to deliver until there is no doubt.
3. A reading that is rejected is kept aside with the reason, REJECTED_MAX of them, and counted for ever.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import NamedTuple

import aiosqlite
import orjson

from agent.model import Reading
from agent.store.progress import Progress, Span

REJECTED_MAX = 1000


class Rejected(NamedTuple):
    """A reading that a centre will never take. `point_values` is JSON, times in Unix ms."""

    uplink: str
    rejected_ms: int
    device: str
    point_group: str
    time_ms: int
    point_values: str
    reason: str


class Standing(NamedTuple):
    """How far an uplink, or one device of it that is held back ("uplink/device"), has come."""

    progress: Progress = Progress()
    rejected: int = 0


class Changes(NamedTuple):
    """What the next commit has to bring to disk. A standing of None is to be forgotten."""

    standings: Mapping[str, Standing | None]
    all: Mapping[str, Standing]
    rejected: tuple[Rejected, ...]

    def __bool__(self) -> bool:
        return bool(self.standings or self.rejected)


class Outbox:
    """The standings; names are those of uplinks, or "uplink/device" for a device that is held back."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}
        self._kept: Mapping[str, Standing] = {}
        self._doubts: dict[str, list[Span]] = {}
        self._rejected: list[Rejected] = []
        self._wanted: Collection[str] | None = None

    def load(self, standings: Mapping[str, Standing]) -> None:
        """Go on where an earlier run stopped."""
        self._standings, self._kept = dict(standings), dict(standings)

    def want(self, uplinks: Collection[str]) -> None:
        """Only these uplinks count in what is unsent; one that was taken out of the configuration keeps
        its place, should it come back, but nothing waits for it."""
        self._wanted = frozenset(uplinks)

    @property
    def last_seq(self) -> int:
        """The newest number that any uplink has delivered."""
        return max((standing.progress.beyond for standing in self._standings.values()), default=0)

    def progress(self, name: str) -> Progress:
        """What `name` has yet to deliver; a new uplink starts at the oldest reading."""
        return self._standings.setdefault(name, Standing()).progress

    def put(self, name: str, progress: Progress) -> None:
        """`name` has this yet to deliver."""
        self._standings[name] = self._standings.get(name, Standing())._replace(progress=progress)

    def passed(self, name: str, first: int, last: int) -> None:
        """`name` need not deliver `first` to `last` any more."""
        self.put(name, self.progress(name).passed(first, last))

    def again(self, name: str, first: int, last: int) -> None:
        """`name` is to deliver `first` to `last` again."""
        self.put(name, self.progress(name).again(first, last))

    def doubt(self, name: str, first: int, last: int) -> None:
        """That `name` has passed `first` to `last` is not certain: after a kill it delivers them again."""
        self._doubts.setdefault(name, []).append((first, last))

    def no_doubt(self, name: str, first: int, last: int) -> None:
        """What `doubt` said of them does not hold any more."""
        if (first, last) in (spans := self._doubts.get(name, [])):
            spans.remove((first, last))
        if not spans:
            self._doubts.pop(name, None)

    def forget(self, name: str) -> None:
        """There is nothing of its own to deliver for `name` any more."""
        self._standings.pop(name, None)

    def under(self, prefix: str) -> list[str]:
        """Names that begin with `prefix`."""
        return [name for name in self._standings if name.startswith(prefix)]

    def reject(self, name: str, reading: Reading, reason: str, now_ms: int) -> None:
        """Keep `reading` aside: the centre of `name` will never take it."""
        standing = self._standings.get(name, Standing())
        self._standings[name] = standing._replace(rejected=standing.rejected + 1)
        group = reading.group
        names = (point.name for point in group.points)
        text = orjson.dumps(dict(zip(names, reading.values, strict=True))).decode()
        row = Rejected(name, now_ms, group.device.name, group.name, reading.time_ms, text, reason)
        self._rejected = [*self._rejected, row][-REJECTED_MAX:]

    def rejected(self, name: str) -> int:
        """How many readings the centre of `name` would never take."""
        return self._standings.get(name, Standing()).rejected

    @property
    def has_uplinks(self) -> bool:
        """Whether there is anyone to deliver to."""
        return any(self._counts(name) for name in self._standings)

    def unsent(self, first: int, last: int) -> list[Span]:
        """What of `first` to `last` some uplink has yet to deliver, be it of a single device that is held
        back; without any uplink, all."""
        wanted = [each.progress for name, each in self._standings.items() if self._counts(name)]
        union = wanted.pop() if wanted else Progress()
        for progress in wanted:
            for span in progress.spans(last):
                union = union.again(*span)
        return [(max(start, first), end) for start, end in union.spans(last) if end >= first]

    def _counts(self, name: str) -> bool:
        return self._wanted is None or name.partition("/")[0] in self._wanted

    # ---------------------------------------------------------------- disk

    def changes(self) -> Changes:
        """What was changed since the last `committed`."""
        now = self._standings | {name: self._certain(name) for name in self._doubts.keys() & self._standings}
        changed: dict[str, Standing | None] = dict(now.items() - self._kept.items())
        changed |= dict.fromkeys(self._kept.keys() - now.keys())
        return Changes(changed, now, tuple(self._rejected))

    def _certain(self, name: str) -> Standing:
        standing = self._standings[name]
        progress = standing.progress
        for span in self._doubts[name]:
            progress = progress.again(*span)
        return standing._replace(progress=progress)

    def lost(self) -> None:
        """The disk has nothing of it any more: all of it is changed."""
        self._kept = {}

    def committed(self, changes: Changes) -> None:
        """`changes` are on disk."""
        self._kept = changes.all
        self._rejected = [row for row in self._rejected if row not in changes.rejected]


async def load(db: aiosqlite.Connection) -> dict[str, Standing]:
    """The standings of an earlier run."""
    rows = await db.execute_fetchall("SELECT name, seq, gaps, rejected FROM cursor")
    found = {}
    for name, beyond, gaps, rejected in rows:
        spans = tuple((first, last) for first, last in orjson.loads(str(gaps)))
        found[str(name)] = Standing(Progress(int(str(beyond)), spans), int(str(rejected)))
    return found


def write(db: sqlite3.Connection, changes: Changes) -> None:
    """Bring `changes` to disk, in the transaction under way."""
    kept = [
        (name, standing.progress.beyond, orjson.dumps(standing.progress.gaps).decode(), standing.rejected)
        for name, standing in changes.standings.items()
        if standing is not None
    ]
    gone = [(name,) for name, standing in changes.standings.items() if standing is None]
    surplus = [(REJECTED_MAX,)] if changes.rejected else []
    for sql, rows in (
        ("INSERT OR REPLACE INTO cursor (name, seq, gaps, rejected) VALUES (?, ?, ?, ?)", kept),
        ("DELETE FROM cursor WHERE name = ?", gone),
        ("INSERT INTO rejected VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", changes.rejected),
        ("DELETE FROM rejected WHERE id <= (SELECT max(id) - ? FROM rejected)", surplus),
    ):
        if rows:
            db.executemany(sql, rows)
