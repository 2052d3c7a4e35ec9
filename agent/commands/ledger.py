"""`ledger`: what became of every reading, by device and day or hour; `ledger reconcile`: is it stored."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from agent.commands.thingsboard import Books, StoreBooks, add_reconcile, agent_groups_of, groups_of
from agent.config import Config, load
from agent.store.ledger import LedgerRow
from agent.store.onlooker import Onlooker

if TYPE_CHECKING:  # argparse does not say the name of this class in public
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DAYS_DEFAULT = 7


class Line(NamedTuple):
    """A device in a period, in readings; `delivered`, `waiting` and `rejected` by uplink."""

    period: str
    device: str
    acquired: int
    delivered: Mapping[str, int]
    waiting: Mapping[str, int]
    rejected: Mapping[str, int]
    discarded_sent: int
    discarded_unsent: int


def add_to(commands: Commands) -> None:
    """`ledger CONFIG` and `ledger reconcile CONFIG`."""
    text = "what became of every reading: delivered, waiting, discarded by rule, rejected"
    one = commands.add_parser("ledger", help=text, description=text)
    one.add_argument("config", type=Path, metavar="CONFIG")
    one.add_argument("--from", dest="first", metavar="DAY", help="2026-01-31 or 2026-01-31T08:00, local time")
    one.add_argument("--to", dest="last", metavar="DAY", help="up to here, not included; default: now")
    one.add_argument("--by", choices=("day", "hour"), default="day")
    one.add_argument("--device", help="only this one")
    one.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    one.set_defaults(command=show)
    _add_actions(one)


def _add_actions(one: argparse.ArgumentParser) -> None:
    """`reconcile` in the place of CONFIG: argparse has no action that may be left out."""
    one.epilog = "`ledger reconcile CONFIG` asks ThingsBoard what it really stores; see its --help."
    actions = argparse.ArgumentParser(prog=one.prog)
    add_reconcile(actions.add_subparsers(), open_books)
    plainly = one.parse_known_args

    def parse(args: Sequence[str], namespace: argparse.Namespace) -> Any:
        parser = actions.parse_known_args if args[:1] == ["reconcile"] else plainly
        return parser(args, namespace)

    one.parse_known_args = parse  # type: ignore[assignment, method-assign]


@asynccontextmanager
async def open_books(config: Config) -> AsyncIterator[Books]:
    """The books of the site's store, beside a running agent."""
    seen = Onlooker(config.data_dir / "readings.db")
    yield StoreBooks(seen.ledger, seen.history, [*groups_of(config), *agent_groups_of(config)])


def show(arguments: argparse.Namespace) -> int:
    """Print the ledger; 0, or OSError if it cannot be read."""
    config = load(arguments.config)
    zone = ZoneInfo(config.options.agent.timezone)
    from_ms, to_ms = period_ms(arguments.first, arguments.last, datetime.now(zone))
    rows = Onlooker(config.data_dir / "readings.db").ledger.read(from_ms, to_ms)
    wanted = [row for row in rows if arguments.device in (None, row.device)]
    uplinks = [uplink.name for uplink in config.options.uplink]
    found = lines(wanted, uplinks, zone, by_hour=arguments.by == "hour")
    if arguments.json:
        print(json.dumps([each._asdict() for each in found], indent=1))
    else:
        print(table(found, uplinks))
    return 0


def period_ms(first: str | None, last: str | None, now: datetime) -> tuple[int, int]:
    """From and to in Unix ms. OSError if one is not a time, or they are the wrong way round."""
    to = _time("--to", last, now) if last else now + timedelta(hours=1)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = _time("--from", first, now) if first else midnight - timedelta(days=DAYS_DEFAULT - 1)
    if start >= to:
        raise OSError(f"--from {start:%Y-%m-%dT%H:%M}: expected a time before --to {to:%Y-%m-%dT%H:%M}")
    return round(start.timestamp() * 1000), round(to.timestamp() * 1000)


def _time(option: str, text: str, now: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise OSError(
            f"{option}: expected a time like 2026-01-31 or 2026-01-31T08:00, found {text!r}"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)


def lines(rows: Iterable[LedgerRow], uplinks: Sequence[str], zone: ZoneInfo, *, by_hour: bool) -> list[Line]:
    """`rows` by period and device, in order of both."""
    shape = "%Y-%m-%d %H:00" if by_hour else "%Y-%m-%d"
    sums: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        period = datetime.fromtimestamp(row.hour_ms / 1000, zone).strftime(shape)
        counts = sums.setdefault((period, row.device), Counter())
        counts["acquired"] += row.acquired
        counts["discarded_sent"] += sum(row.discarded_sent.values())
        counts["discarded_unsent"] += sum(row.discarded_unsent.values())
        for name in uplinks:
            counts[f"delivered/{name}"] += row.delivered.get(name, 0)
            counts[f"rejected/{name}"] += row.rejected.get(name, 0)
            counts[f"waiting/{name}"] += row.waiting(name)
    return [_line(period, device, counts, uplinks) for (period, device), counts in sorted(sums.items())]


def _line(period: str, device: str, counts: Counter[str], uplinks: Sequence[str]) -> Line:
    def by_uplink(what: str) -> dict[str, int]:
        return {name: counts[f"{what}/{name}"] for name in uplinks}

    return Line(
        period,
        device,
        counts["acquired"],
        by_uplink("delivered"),
        by_uplink("waiting"),
        by_uplink("rejected"),
        counts["discarded_sent"],
        counts["discarded_unsent"],
    )


def table(found: Sequence[Line], uplinks: Sequence[str]) -> str:
    """The lines as text, with their sum below."""
    if not found:
        return "nothing in this period"
    heads = ["period", "device", "acquired"]
    for name in uplinks:
        heads += [f"{name}: delivered", "waiting", "rejected"]
    heads += ["discarded sent", "never sent"]
    body = [[line.period, line.device, *map(str, _numbers(line, uplinks))] for line in found]
    sums = [sum(column) for column in zip(*(_numbers(line, uplinks) for line in found), strict=True)]
    body.append(["all", "", *map(str, sums)])
    widths = [max(map(len, column)) for column in zip(heads, *body, strict=True)]
    return "\n".join(_row(cells, widths) for cells in (heads, *body))


def _numbers(line: Line, uplinks: Sequence[str]) -> list[int]:
    by_uplink = [
        count for name in uplinks for count in (line.delivered[name], line.waiting[name], line.rejected[name])
    ]
    return [line.acquired, *by_uplink, line.discarded_sent, line.discarded_unsent]


def _row(cells: Sequence[Any], widths: Sequence[int]) -> str:
    words = [
        f"{cell:<{width}}" if at < 2 else f"{cell:>{width}}"
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(words).rstrip()
