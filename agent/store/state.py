"""What the store says of itself."""

from __future__ import annotations

from typing import NamedTuple


class StoreState(NamedTuple):
    """What the store holds. `discarded_*` count readings that were given up since the file was made;
    `held` are those that wait for a clock that can be trusted. `pressure` says what room costs now: ""
    nothing, "history" what was delivered, "unsent" what was not, "refusing" what is new. `moved_aside`
    names the broken file that a new one was started for, "" if none was. `in_memory` says why the file is in
    memory only, "" if it is on the disk. `lost_by_kill` are those of `discarded_unsent` that a kill took
    along before this start."""

    last_seq: int
    committed_seq: int
    file_bytes: int
    discarded_sent: int
    discarded_unsent: int
    held: int
    commits: int
    failing: bool
    pressure: str = ""
    moved_aside: str = ""
    in_memory: str = ""
    lost_by_kill: int = 0
