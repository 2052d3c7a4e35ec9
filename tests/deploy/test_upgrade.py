"""An upgrade, ended at every one of its steps and gone on with: it always ends with a whole agent."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from agent.deploy import upgrade
from agent.deploy.host import Host
from agent.deploy.layout import COMPLETE, Layout, point_at

OLD, NEW = "1.0-20260101T000000Z", "2.0-20260102T000000Z"


class PowerCut(BaseException):
    """Nothing after it is done."""


class System:
    """Stands for systemd: remembers what it was told; fails at the `cut`-th command."""

    def __init__(self, layout: Layout, cut: int = 10**6) -> None:
        self.layout, self.cut, self.told = layout, cut, list[str]()

    def __call__(self, command: Sequence[str]) -> str:
        self.told.append(" ".join(command))
        if len(self.told) == self.cut:
            raise PowerCut
        if command[1] in ("start", "restart") and command[-1] == "uicps-agent":
            self._agent_runs()
        return ""

    def _agent_runs(self) -> None:
        """The new release changes the form of the data as soon as it runs."""
        if self.layout.release and self.layout.release.name == NEW:
            with closing(sqlite3.connect(self.layout.state / "readings.db")) as db:
                db.execute("PRAGMA user_version = 2")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for name in (OLD, NEW):
        site = layout.releases / name / "lib/python3.11/site-packages/agent/deploy"
        site.mkdir(parents=True)
        (site / "uicps-agent.service").write_text(f"# {name}\n")
        (layout.releases / name / COMPLETE).touch()
    for folder in (layout.units, layout.state, layout.drop_ins):
        folder.mkdir(parents=True)
    with closing(sqlite3.connect(layout.state / "readings.db")) as db:
        db.execute("PRAGMA user_version = 1")
    point_at(layout.current, layout.releases / OLD)
    return layout


def begin(layout: Layout, changing: tuple[str, ...] = ("readings.db",)) -> None:
    folder = layout.releases / NEW
    upgrade.begin(Host(System(layout)), layout, folder, changing=changing, data_dir=layout.state, well_s=60)


def version(layout: Layout) -> int:
    with closing(sqlite3.connect(layout.state / "readings.db")) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def state(layout: Layout) -> tuple[str, str, int, bool, bool]:
    """Release, unit, form of the data, whether a note or a snapshot is left."""
    assert layout.release
    unit = layout.unit.read_text().strip("# \n")
    return layout.release.name, unit, version(layout), layout.upgrade.exists(), layout.snapshot.exists()


AFTER = {"well": (NEW, NEW, 2, False, False), "bad": (OLD, OLD, 1, False, False)}
REASON = {"well": "", "bad": "it does not stay up"}


@pytest.mark.parametrize("outcome", AFTER)
@pytest.mark.parametrize("cut", [10**6, *range(1, 30)])
def test_whenever_the_power_goes_it_ends_whole(layout: Layout, outcome: str, cut: int) -> None:
    begin(layout)
    for at in (cut, 10**6):
        try:
            upgrade.resume(Host(System(layout, at)), layout, lambda _: REASON[outcome])
        except PowerCut:
            assert layout.release
            assert (layout.release / COMPLETE).exists()
    assert state(layout) == AFTER[outcome]
    assert not layout.keeper.exists()


def test_a_power_cut_while_it_is_watched_is_no_verdict(layout: Layout) -> None:
    begin(layout)

    def cut(well_s: float) -> str:
        raise PowerCut

    with pytest.raises(PowerCut):
        upgrade.resume(Host(System(layout)), layout, cut)
    assert layout.release == layout.releases / NEW
    said = upgrade.resume(Host(System(layout)), layout, lambda _: "no")
    assert said == "rolled back: no"
    assert state(layout) == AFTER["bad"]


def test_what_fails_on_the_way_does_not_leave_the_agent_stopped(layout: Layout) -> None:
    begin(layout)
    layout.snapshot.touch()  # a folder cannot be put there
    system = System(layout)
    assert "rolled back" in upgrade.resume(Host(system), layout, lambda _: "")
    assert (layout.release, version(layout)) == (layout.releases / OLD, 1)
    assert "systemctl restart --no-block uicps-agent" in system.told
    assert not (layout.releases / NEW).exists()


def test_a_snapshot_of_an_earlier_upgrade_is_never_put_back(layout: Layout) -> None:
    layout.snapshot.mkdir()
    (layout.snapshot / "readings.db").write_bytes(b"of last year")
    begin(layout)
    assert not layout.snapshot.exists()


def test_data_whose_form_stays_is_left_alone(layout: Layout) -> None:
    begin(layout, changing=())
    upgrade.resume(Host(System(layout)), layout, lambda _: "no")
    assert state(layout) == (OLD, OLD, 2, False, False)


def test_how_it_ended_is_remembered(layout: Layout) -> None:
    assert upgrade.outcome(layout) is None
    begin(layout)
    upgrade.resume(Host(System(layout)), layout, lambda _: "it fell")
    found = upgrade.outcome(layout)
    assert found
    assert found["outcome"] == "rolled back: it fell"


def test_the_data_is_copied_while_nobody_writes(layout: Layout) -> None:
    begin(layout)
    system = System(layout)
    upgrade.resume(Host(system), layout, lambda _: "")
    assert system.told[0] == "systemctl stop uicps-agent"


def test_a_note_that_cannot_be_understood_is_said(layout: Layout) -> None:
    layout.upgrade.write_text("{}")
    with pytest.raises(OSError, match="not a note of an upgrade"):
        upgrade.read_journal(layout)


def test_nothing_under_way(layout: Layout) -> None:
    assert upgrade.resume(Host(System(layout)), layout, lambda _: "") == "no upgrade is under way"


def test_a_release_that_refuses_changes_nothing(layout: Layout) -> None:
    def run(command: Sequence[str]) -> str:
        if command[1] == "service":
            assert list(layout.snapshot.parent.glob("*.try"))
            raise OSError("cannot be migrated")
        return ""

    with pytest.raises(OSError, match="cannot be migrated"):
        upgrade.rehearse(layout, layout.releases / NEW, run)
    assert not list(layout.snapshot.parent.glob("*.try"))
    assert layout.release == layout.releases / OLD


def test_what_changes_is_what_the_new_release_says(layout: Layout) -> None:
    changing = upgrade.rehearse(layout, layout.releases / NEW, lambda _: json.dumps(["readings.db"]))
    assert changing == ("readings.db",)
