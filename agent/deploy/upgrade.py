"""An upgrade that ends well or leaves no trace, whatever happens in its middle.

Rules.
1. What can be found out beforehand is: the wheels are whole, the new release starts, understands the
   configuration, and can migrate a copy of every database it would change. Until then nothing is touched.
2. The rest is a few phases, each written down before it begins and safe to do again. They are done by a
   service of its own (`uicps-agent-upgrade`), which no lost connection ends and which goes on after a crash
   or power cut; its code is the old release's, known to work.
3. What fails on the way (a full disk, say) is a reason to go back, never one to leave the agent stopped.
4. Data is put back only where the new release changed its form, from a copy made while nobody wrote.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from agent.deploy import databases
from agent.deploy.host import Host, Run, run
from agent.deploy.install import prune, put_in_place
from agent.deploy.layout import NAME, UPGRADE_UNIT, Layout, point_at, sync_folder, write_whole

WELL_S = 60.0

Phase = Literal["keeping", "switching", "watching", "going back"]
Watch = Callable[[float], str]  # for so many seconds: "" or why not


@dataclass(frozen=True)
class Journal:
    """What is under way: from which release to which, how far, and which databases change."""

    old: str
    new: str
    phase: Phase
    changing: tuple[str, ...]
    data_dir: str
    well_s: float
    reason: str = ""


def read_journal(layout: Layout) -> Journal | None:
    """The upgrade under way; None: there is none. OSError if its note cannot be understood."""
    try:
        found = json.loads(layout.upgrade.read_text(encoding="utf-8"))
        return Journal(**{**found, "changing": tuple(found["changing"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise OSError(
            f"{layout.upgrade}: not a note of an upgrade ({error}); see docs/operations.md"
        ) from error


def _note(layout: Layout, journal: Journal) -> Journal:
    write_whole(layout.upgrade, json.dumps(asdict(journal), indent=2) + "\n")
    return journal


def rehearse(layout: Layout, folder: Path, run: Run = run) -> tuple[str, ...]:
    """Let the new release check the configuration and migrate copies; the databases that would change."""
    program = str(folder / "bin" / NAME)
    run((program, "check", str(layout.config)))
    scratch = layout.snapshot.with_name(f"{layout.snapshot.name}.try")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        said = run((program, "service", "rehearse", str(layout.config), "--scratch", str(scratch)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return tuple(json.loads(said))


def begin(
    host: Host, layout: Layout, folder: Path, *, changing: tuple[str, ...], data_dir: Path, well_s: float
) -> None:
    """Write down what is to be done, and start the service that does it."""
    old = layout.release
    if old is None:
        raise OSError(f"{layout.current}: no release is installed: uicps-agent service install")
    shutil.rmtree(layout.snapshot, ignore_errors=True)  # of an earlier one: never to be put back
    point_at(layout.keeper, old)
    _note(layout, Journal(str(old), str(folder), "keeping", changing, str(data_dir), well_s))
    host.systemctl("enable", UPGRADE_UNIT)
    host.systemctl("start", "--no-block", UPGRADE_UNIT)


def resume(host: Host, layout: Layout, watch: Watch) -> str:
    """Go on with the upgrade under way, from the phase it is in, to its end; one line on how it went."""
    journal = read_journal(layout)
    if journal is None:
        return "no upgrade is under way"
    while journal is not None:
        last, journal = journal, _next(host, layout, journal, watch)
    outcome = (
        f"rolled back: {last.reason}" if last.phase == "going back" else f"upgraded to {Path(last.new).name}"
    )
    if last.phase == "going back":
        shutil.rmtree(last.new, ignore_errors=True)
    _end(host, layout, outcome)
    return outcome


def _next(host: Host, layout: Layout, journal: Journal, watch: Watch) -> Journal | None:
    """Do one phase; the next, or None when all is done. OSError only if going back is what fails."""
    try:
        return _step(host, layout, journal, watch)
    except OSError as error:
        if journal.phase == "going back":
            raise
        return _note(layout, replace(journal, phase="going back", reason=str(error)))


def _step(host: Host, layout: Layout, journal: Journal, watch: Watch) -> Journal | None:
    if journal.phase == "keeping":
        host.systemctl("stop", NAME)
        if journal.changing:
            databases.snapshot(Path(journal.data_dir), layout.snapshot)
        return _note(layout, replace(journal, phase="switching"))
    if journal.phase == "switching":
        put_in_place(host, layout, Path(journal.new))
        return _note(layout, replace(journal, phase="watching"))
    if journal.phase == "watching":
        host.systemctl("restart", "--no-block", NAME)
        reason = watch(journal.well_s)
        return _note(layout, replace(journal, phase="going back", reason=reason)) if reason else None
    _go_back(host, layout, journal)
    return None


def _go_back(host: Host, layout: Layout, journal: Journal) -> None:
    host.systemctl("stop", NAME)
    if journal.changing and layout.snapshot.is_dir():
        databases.restore(layout.snapshot, Path(journal.data_dir))
    put_in_place(host, layout, Path(journal.old))
    host.systemctl("restart", "--no-block", NAME)


def _end(host: Host, layout: Layout, outcome: str) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    write_whole(layout.upgraded, json.dumps({"at": at, "outcome": outcome}) + "\n")
    host.systemctl("disable", UPGRADE_UNIT)
    layout.upgrade.unlink()
    sync_folder(layout.opt)
    shutil.rmtree(layout.snapshot, ignore_errors=True)
    prune(layout)
    layout.keeper.unlink(missing_ok=True)


def outcome(layout: Layout) -> dict[str, str] | None:
    """How the last upgrade ended, and when; None: there was none."""
    try:
        found = json.loads(layout.upgraded.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {str(key): str(value) for key, value in found.items()}
