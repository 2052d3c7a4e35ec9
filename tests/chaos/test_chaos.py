"""Everything goes wrong, and nothing is lost: the log, ThingsBoard and the broker agree reading by reading.

The short form runs with the other tests; `make chaos` runs ten minutes of it. UICPS_CHAOS_S and
UICPS_CHAOS_SEED choose otherwise.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agent.store.ledger import LedgerRow
from tests.chaos.mischief import mischief
from tests.chaos.site import METERS, Seen, Site
from tests.conftest import Mosquitto
from tests.thingsboard import FakeThingsBoard

DURATION_S = float(os.environ.get("UICPS_CHAOS_S", "15"))
SEED = int(os.environ.get("UICPS_CHAOS_SEED", "4"))


@pytest.mark.timeout(DURATION_S + 600)
async def test_nothing_is_lost_whatever_happens(tmp_path: Path, mosquitto: Mosquitto) -> None:
    seed = SEED or random.randrange(1, 1_000_000)
    async with FakeThingsBoard() as board, Site.at(tmp_path, board, mosquitto) as site:
        done = await mischief(site, DURATION_S, seed)
        await site.calm()
        assert await site.stop(signal.SIGTERM) == 0, site.log.read_text()
        if site.broken:
            await site.salvage()
            await site.start()
            await site.calm()
            assert await site.stop(signal.SIGTERM) == 0, site.log.read_text()
        kept = await site.kept()
        books = await site.books()
        served = [meter.served for meter in site.meters]
        centre, plain, stops = site.centre, site.plain, site.stops
    story = f"seed {seed}: {', '.join(done)}\n{site.log.read_text()[-3000:]}"
    assert "Traceback" not in site.log.read_text(), story
    assert lost(kept, centre) == [], story
    assert lost(kept, plain) == [], story
    assert centre == plain == kept, story
    assert_agreement(*books, story)
    assert board.centre.differing == []
    assert site.differing == 0
    for at, count in enumerate(served):
        counts = {value for (device, _), value in kept.items() if device == f"m{at}"}
        # A poll in hand when the agent is killed or stopped was served and is nobody's.
        assert len(set(range(1, count + 1)) - counts) <= stops, (at, stops, story)
    assert len(kept) > METERS * DURATION_S
    print(f"{len(kept)} readings, {board.centre.identical} values twice, {stops} stops; {story[:300]}")  # noqa: T201 - what a long run was worth


def lost(kept: Seen, arrived: Seen) -> list[tuple[str, int]]:
    return sorted(kept.keys() - arrived.keys())


def assert_agreement(
    logged: Mapping[str, int], ledger: Sequence[LedgerRow], waiting: Mapping[str, int], story: str
) -> None:
    """The ledger has counted what the log holds, and as delivered what of it does not wait."""
    acquired = Counter[str]()
    for row in ledger:
        assert not row.discarded_unsent, (row, story)
        acquired[row.device] += row.acquired
    assert acquired == logged, (acquired, logged, story)
    for name, count in waiting.items():
        delivered = sum(row.delivered.get(name, 0) for row in ledger)
        assert delivered + count == sum(acquired.values()), (name, delivered, count, acquired, story)
