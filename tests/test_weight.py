"""What the running agent loads: on a small box, a library is a megabyte or ten for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What the agent with everything on may have loaded when it starts. Who adds one: must it be there always?
# What is used now and then is imported where it is used, or runs in a process of its own (jobs, plug-ins,
# `agent.apart`, `agent.tls.certificates`).
LIBRARIES = {
    *("aiohappyeyeballs", "aiohttp", "aiomqtt", "aiosignal", "aiosqlite", "annotated_types"),
    *("apscheduler", "argon2", "attr", "attrs", "frozenlist", "idna", "jwt"),
    *("multidict", "orjson", "paho", "propcache", "pydantic", "pydantic_core", "pyotp", "serial"),
    *("typing_extensions", "typing_inspection", "tzlocal", "uvloop", "yarl"),
}
PROBE = """
import json, sys
import agent.commands.agent, agent.service
{more}
def third_party(module):
    file = getattr(module, "__file__", None) or ""
    return "site-packages" in file and "/_" not in file.partition("site-packages")[2][:2]
print(json.dumps(sorted({{name for name, module in list(sys.modules.items()) if third_party(module)}})))
"""


def loaded(more: str = "") -> set[str]:
    words = (sys.executable, "-c", PROBE.format(more=more))
    return set(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))


def libraries(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_agent_starts_with_no_more_than_it_needs() -> None:
    assert libraries(loaded("import agent.control.site")) - LIBRARIES == set()


HEAVY = ("numpy", "holidays", "dateutil", "highspy", "agent.tariff", "agent.localtime")
SITE = """
import asyncio, json, sys
from pathlib import Path
from agent.control.model import Model
from agent.control.state import Parameters
from tests.control.site.places import Place, dispatching, room_options

children = []
sys.addaudithook(lambda event, _: children.append(event) if event == "subprocess.Popen" else None)

async def live(folder):
    place = Place(folder, [room_options()], planner=None)
    async with place.control() as control, dispatching(place):
        learned = (0.012, 0.2, 0.1, 0.02, *[0.02] * 12, *[0.06] * 8, 0.1, 2.2, 1.8, 0.05)
        control._loop.parameters = Parameters({"office-101": Model(learned, 1200.0, 0.0, 0.3, 0)})
        decisions = await place.minutes(control, 50)
        planned = len(children)
        await control.learn(round(place.now_s * 1000))
        return {
            "planned": decisions[-1].expected_c is not None,
            "children": planned,
            "learned": control._loop.verdicts["office-101"],
            "modules": sorted(sys.modules),
        }

print(json.dumps(asyncio.run(live(Path(sys.argv[1])))))
"""


def test_a_site_under_control_never_loads_numpy_and_starts_a_child_a_quarter(tmp_path: Path) -> None:
    words = (sys.executable, "-c", SITE, str(tmp_path))
    said = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    found = json.loads(said)
    assert [name for name in found["modules"] if name.startswith(HEAVY)] == []
    assert found["planned"]
    assert found["children"] == 4, "a quarter of the 50 minutes each, the first with the almanac"
    assert "3 needed" in found["learned"]


def test_holidays_are_those_of_one_country() -> None:
    found = loaded("import agent.control.site.almanac as a; a.holiday_dates(a.HolidayOptions(), 2026)")
    assert {name for name in found if name.startswith("holidays.countries.")} == {"holidays.countries.brazil"}


def test_a_tariff_is_checked_without_numpy() -> None:
    code = (
        "import sys; from agent.tariff import load; load('exemplo-branca');"
        " print([name for name in sys.modules if name.startswith(('numpy', 'holidays', 'dateutil'))])"
    )
    assert subprocess.run((sys.executable, "-c", code), check=True, capture_output=True).stdout == b"[]\n"


AT_WORK = """
import asyncio, sys
from contextlib import aclosing
from pathlib import Path
from agent.model import Device, Group, Point, Reading
from agent.server import past
from agent.store import Store, StoreOptions
from agent.store.chunk_table import ChunkSize
from agent.store.requeue import requeue

GROUP = Group(Device("meter", "bench"), "all", tuple(Point(f"p{at}", "W") for at in range(100)), 1000)
ALL = past.Period(0, 10**13)

async def fill(store, hours):
    for at in range(hours.start * 3600, hours.stop * 3600, 400):
        times = range(at * 1000, (at + 400) * 1000, 1000)
        store.append([Reading(GROUP, now, [hash((now, each)) / 7 for each in range(100)]) for now in times])
        await store.commit()
        await store.upkeep.once()

async def main():
    options = StoreOptions.model_validate({"size_max_mb": 8, "discard": "thin", "free_min_mb": 0})
    async with Store(Path(sys.argv[1]), options, ChunkSize(readings=1000)) as store:
        store.outbox.progress("center")
        await fill(store, range(3))
        assert store.state.discarded_unsent > 500
        assert await store.read_after(0, 10)
        store.outbox.passed("center", 1, store.last_seq)
        await fill(store, range(3, 4))
        assert store.state.discarded_sent > 500
        assert await requeue(store, "center", "meter", 0, 10**13) > 500
        for step in ((0, "mean"), (3_600_000, "mean")):
            async with aclosing(past.pieces(store, 1, ["meter.p7"], ALL, step)) as pieces:
                assert [piece async for piece in pieces]
    print([name for name in sys.modules if name.partition(".")[0] == "numpy"])

asyncio.run(main())
"""


def test_a_store_at_work_does_without_numpy(tmp_path: Path) -> None:
    """It seals, gives up, reads back for an uplink, sends again, and tells the past to a page."""
    words = (sys.executable, "-c", AT_WORK, tmp_path / "readings.db")
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "[]\n"
