"""`control replay|explain|savings`: what control did, run again, in words, and in money."""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from agent.config import Config, load
from agent.schema import Fault, FaultyFile

if TYPE_CHECKING:
    from agent.control.site.record import Record
    from agent.control.site.replay import Difference

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

# agent.control.site is imported where it is used: numpy is not for `uicps-agent run` to carry.

EXIT_WELL, EXIT_FAILED = 0, 1
FOREVER_MS = 2**53
RECORD_FILE = "control.db"


def add_to(commands: Commands) -> None:
    control = commands.add_parser("control", help="what control did: run again, in words, in money")
    actions = control.add_subparsers(required=True, metavar="ACTION")
    replay = actions.add_parser("replay", help="decide recorded history again and compare, bit for bit")
    replay.add_argument("config", type=Path, metavar="CONFIG")
    replay.add_argument("--from", dest="begin", metavar="TIME", help="like 2026-01-05T08:00, local time")
    replay.add_argument("--to", dest="end", metavar="TIME", help="not including it (default: all there is)")
    replay.set_defaults(command=_replay)
    explain = actions.add_parser("explain", help="why a room's units did what they did")
    explain.add_argument("config", type=Path, metavar="CONFIG")
    explain.add_argument("room", metavar="ROOM")
    explain.add_argument("--at", metavar="TIME", help="like 2026-01-05T14:30, local time (default: now)")
    explain.add_argument("--language", choices=("pt", "en"), default="pt", help="(default: %(default)s)")
    explain.set_defaults(command=_explain)
    savings = actions.add_parser("savings", help="against a plain schedule, on the learned rooms")
    savings.add_argument("config", type=Path, metavar="CONFIG")
    savings.set_defaults(command=_savings)


def _replay(arguments: argparse.Namespace) -> int:
    from agent.control.site.replay import replay  # noqa: PLC0415

    config = load(arguments.config)
    zone = ZoneInfo(config.options.agent.timezone)
    from_ms = _time_ms("--from", arguments.begin, zone, 0)
    to_ms = _time_ms("--to", arguments.end, zone, FOREVER_MS)

    def tell(difference: Difference) -> None:
        when = datetime.fromtimestamp(difference.time_ms / 1000, zone)
        print(f"{when:%Y-%m-%d %H:%M:%S}: recorded {difference.recorded}, now {difference.replayed}")

    with _record(config) as record:
        found = replay(record, from_ms, to_ms, tell=tell)
    if found.skipped:
        print(f"{found.skipped} cycles skipped: where they began is no longer kept", file=sys.stderr)
    if not found.cycles:
        print("nothing recorded in that time", file=sys.stderr)
        return EXIT_FAILED
    first, last = (datetime.fromtimestamp(each / 1000, zone) for each in (found.first_ms, found.last_ms))
    same = "all the same, bit for bit" if not found.differing else f"{found.differing} differ"
    print(f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}: {found.decisions} decisions, {same}")
    return EXIT_FAILED if found.differing else EXIT_WELL


def _explain(arguments: argparse.Namespace) -> int:
    from agent.control.site.words import explained  # noqa: PLC0415

    config = load(arguments.config)
    _expect_room(config, arguments.room)
    zone = ZoneInfo(config.options.agent.timezone)
    with _record(config) as record:
        cycle = record.last(arguments.room, _time_ms("--at", arguments.at, zone, FOREVER_MS))
    if cycle is None:
        print(f"{arguments.room}: nothing recorded by then", file=sys.stderr)
        return EXIT_FAILED
    for line in explained(cycle, arguments.room, zone, arguments.language):
        print(line)
    return EXIT_WELL


def _savings(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    with _record(config) as record:
        for line in savings_lines(config, record):
            print(line)
    return EXIT_WELL


def savings_lines(config: Config, record: Record) -> Iterator[str]:
    """A line or two for each room."""
    from agent.control.grey_box import times_ms  # noqa: PLC0415
    from agent.control.options import room_of  # noqa: PLC0415
    from agent.control.site.prices import price_at  # noqa: PLC0415
    from agent.control.site.savings import savings  # noqa: PLC0415
    from agent.control.state import Parameters  # noqa: PLC0415

    memory = record.memory()
    histories = record.histories(memory.get("lasts", {}))
    models = Parameters.from_json(memory["loop"]["parameters"]).models if "loop" in memory else {}
    for options in config.options.room:
        model, history = models.get(options.id), histories.get(options.id)
        if model is None or history is None:
            yield f"{options.id}: no model accepted yet: seven days or so of readings are needed"
            continue
        price = price_at(config.options.tariff, _folders(config), times_ms(history))
        found = savings(room_of(options), model, history, price)
        if found is None:
            yield f"{options.id}: fewer than three whole days recorded"
            continue
        yield (
            f"{options.id}, {found.days} days: {found.actual_kwh:.1f} kWh (R$ {found.actual_brl:.2f});"
            f" the plain schedule: {found.baseline_kwh:.1f} kWh (R$ {found.baseline_brl:.2f})"
        )
        yield (
            f"  saved {found.saved_kwh:.1f} ± {found.kwh_sure:.1f} kWh,"
            f" R$ {found.saved_brl:.2f} ± {found.brl_sure:.2f} (95 %);"
            f" too warm {found.actual_kh:.1f} K.h, the schedule {found.baseline_kh:.1f} K.h"
        )


def _folders(config: Config) -> tuple[Path, ...]:
    folder = config.options.agent.tariff_dir
    return (folder,) if folder else ()


def _expect_room(config: Config, room: str) -> None:
    known = [each.id for each in config.options.room]
    if room not in known:
        text = f"expected one of {', '.join(known) or 'none'}, found {room!r}"
        raise FaultyFile([Fault(str(config.file), "ROOM", text)])


def _time_ms(option: str, text: str | None, zone: ZoneInfo, default: int) -> int:
    if text is None:
        return default
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise FaultyFile(
            [Fault(option, "", f"expected a time like 2026-01-05T08:00, found {text!r}")]
        ) from None
    return round((when if when.tzinfo else when.replace(tzinfo=zone)).astimezone(UTC).timestamp() * 1000)


@contextmanager
def _record(config: Config) -> Iterator[Record]:
    from agent.control.site.record import read_only  # noqa: PLC0415

    record = read_only(config.data_dir / RECORD_FILE)
    try:
        yield record
    except sqlite3.Error as error:
        raise OSError(f"{record.file}: cannot be read: {error}") from error
    finally:
        record.close()
