"""`thingsboard sync`: what is set up at the centre. `ledger reconcile`: what it really stores."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import uvloop

from agent.centre.client import Rest
from agent.centre.dashboard import LANGUAGES, Language
from agent.centre.plan import Action, Plan, language_of, plan
from agent.centre.reconcile import (
    DAY_MS,
    HOUR_MS,
    SETTLE_S,
    Claim,
    Here,
    History,
    Row,
    Site,
    Verdict,
    claims_of,
    here_in,
    reconcile,
)
from agent.centre.requests import FOLDER, Request, leave
from agent.centre.setup import look, sync
from agent.centre.wanted import AGENT_DEVICE, GATEWAY_PROFILE, Wanted, wanted
from agent.config import Config, load
from agent.drivers import Driver, open_line
from agent.health import POINTS, line_groups
from agent.model import Device, Group
from agent.uplink import secret
from agent.uplink.thingsboard import ThingsBoardOptions

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_WELL, EXIT_FAILED = 0, 1
DAYS_DEFAULT, DAYS_MAX = 7, 400
_AGENT = Device(AGENT_DEVICE, GATEWAY_PROFILE)
_SIGNS = {"create": "+", "update": "~", "credentials": "~", "relate": "+", "unrelate": "-", "delete": "-"}


class Books(Protocol):
    """What this box knows of its readings. `here` as in `reconcile.Site`."""

    here: Here

    async def claims(self, uplink: str, from_ms: int, to_ms: int) -> Sequence[Claim]:
        """What was delivered in the hours that begin in `from_ms` <= time < `to_ms`."""


class Ledger(Protocol):
    """The ledger of a store: a row per device and hour that begins in `from_ms` <= time < `to_ms`."""

    async def rows(self, from_ms: int, to_ms: int) -> Sequence[Row]: ...


class StoreBooks:
    """The books of a store that is open."""

    def __init__(self, ledger: Ledger, history: History, groups: Sequence[Group]) -> None:
        by_device: dict[str, list[Group]] = {}
        for group in groups:
            by_device.setdefault(group.device.name, []).append(group)
        self._ledger, self.here = ledger, here_in(history, by_device)

    async def claims(self, uplink: str, from_ms: int, to_ms: int) -> Sequence[Claim]:
        return claims_of(await self._ledger.rows(from_ms, to_ms), uplink)


OpenBooks = Callable[[Config], AbstractAsyncContextManager[Books]]


def add_to(commands: Commands) -> None:
    """`thingsboard sync CONFIG`."""
    text = "set up ThingsBoard for this site, over its REST side"
    actions = commands.add_parser("thingsboard", help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    text = "devices, profiles, assets, relations and a dashboard; shows what it would do, unless --apply"
    one = actions.add_parser("sync", help=text, description=text)
    _add_uplink(one)
    one.add_argument("--apply", action="store_true", help="do it")
    one.add_argument(
        "--adopt",
        action="append",
        default=[],
        metavar="NAME",
        help="take over this device, asset or dashboard, which the agent did not make; may be repeated",
    )
    one.add_argument("--language", choices=LANGUAGES, help="of the dashboard; else as it is, at first en")
    one.set_defaults(command=_sync)


def add_reconcile(actions: Commands, open_books: OpenBooks, *, settle_s: float = SETTLE_S) -> None:
    """`ledger reconcile CONFIG`; `open_books(config)` is entered to read this box's books."""
    text = "ask ThingsBoard what it really stores, and send again what is missing"
    one = actions.add_parser("reconcile", help=text, description=text)
    _add_uplink(one)
    one.add_argument(
        "--days",
        type=_days,
        default=DAYS_DEFAULT,
        help=f"how far back, 1 to {DAYS_MAX} (%(default)s); the current hour is left out",
    )
    one.add_argument("--json", action="store_true", help="every hour, as JSON")
    one.add_argument("--dry-run", action="store_true", help="only compare, send nothing again")
    one.set_defaults(command=partial(_reconcile, open_books), settle_s=settle_s)


def _add_uplink(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("--uplink", metavar="NAME", help="only this one of several with a rest_url")


def _days(text: str) -> int:
    days = int(text) if text.isdecimal() else 0
    if not 1 <= days <= DAYS_MAX:
        raise argparse.ArgumentTypeError(f"expected a whole number of days, 1 to {DAYS_MAX}, found {text!r}")
    return days


def groups_of(config: Config) -> list[Group]:
    """Every group of the site's devices. OSError if a line's key file cannot be used; opens no port."""
    return [group for line in _lines_of(config) for group in line.groups]


def agent_groups_of(config: Config) -> list[Group]:
    """Every group that the agent publishes of itself: its health, and each line's."""
    own = Group(_AGENT, "health", POINTS, 0)
    return [own, *line_groups(_lines_of(config), own)]


def _lines_of(config: Config) -> list[Driver]:
    state_dir = config.data_dir / "lines"
    return [open_line(line, config.profiles, state_dir) for line in config.options.line]


def _uplinks(config: Config, name: str | None) -> list[ThingsBoardOptions]:
    """The uplinks to work with; RuntimeError says what is missing."""
    known = [
        uplink
        for uplink in config.options.uplink
        if isinstance(uplink, ThingsBoardOptions) and uplink.rest_url
    ]
    chosen = [uplink for uplink in known if name in (None, uplink.name)]
    if chosen:
        return chosen
    if name and known:
        raise RuntimeError(f"uplink {name}: expected one of {', '.join(each.name for each in known)}")
    raise RuntimeError(
        f"{config.file}: expected an [[uplink]] with rest_url, rest_user and rest_password_file, found none"
    )


def _rest(uplink: ThingsBoardOptions) -> Rest:
    file = uplink.rest_password_file
    if file is None:
        raise RuntimeError(f"uplink {uplink.name}: expected rest_password_file beside rest_url")
    return Rest(uplink.rest_url, uplink.rest_user, partial(secret, file), ca_file=uplink.rest_ca_file)


def _sync(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    groups = groups_of(config)
    chosen = _uplinks(config, arguments.uplink)
    codes = [uvloop.run(_sync_one(config, groups, uplink, arguments)) for uplink in chosen]
    return max(codes)


async def _sync_one(
    config: Config, groups: Sequence[Group], uplink: ThingsBoardOptions, arguments: argparse.Namespace
) -> int:
    def as_wanted(language: Language) -> Wanted:
        return wanted(
            config.options.agent.site,
            groups,
            rooms=uplink.room,
            gateway=uplink.rest_gateway,
            token=secret(uplink.token_file) if uplink.token_file else None,
            language=language,
        )

    async with _rest(uplink) as rest:
        want = as_wanted(arguments.language or "en")
        found = await look(rest, want)
        before = language_of(found, want.owner)
        if not arguments.language and before == "pt-BR":
            want = as_wanted("pt-BR")
        left = plan(want, found, arguments.adopt)
        print(f"{uplink.name}, {uplink.rest_url}: site {want.owner}")
        if arguments.apply and left.actions:
            left = await sync(rest, want, arguments.adopt, done=lambda action: print(f"  {_line(action)}"))
            _print_left(left)
            print("  done" if not left.refusals else f"  done, but for {len(left.refusals)} left alone")
        else:
            _print_plan(left, _unused(arguments.adopt, plan(want, found)))
    return EXIT_FAILED if left.refusals else EXIT_WELL


def _unused(adopt: Collection[str], without: Plan) -> Iterator[str]:
    refused = {refusal.name for refusal in without.refusals}
    for name in adopt:
        if name not in refused:
            yield f"--adopt {name!r}: there is nothing to take over of that name"


def _print_plan(left: Plan, remarks: Iterator[str]) -> None:
    for action in left.actions:
        print(f"  {_line(action)}")
    _print_left(left)
    for remark in remarks:
        print(f"  ? {remark}")
    if left.actions:
        print(f"  {len(left.actions)} to do. Nothing was changed: add --apply to do it")
    else:
        print("  nothing to do")


def _print_left(left: Plan) -> None:
    for refusal in left.refusals:
        print(f"  ! {refusal.reason}")
    for note in left.notes:
        print(f"  ? {note}")


def _line(action: Action) -> str:
    if action.verb in ("relate", "unrelate"):
        return f"{_SIGNS[action.verb]} relation: {action.name} {action.detail}"
    kind = action.kind.lower().replace("_", " ")
    text = f"{_SIGNS[action.verb]} {kind} {action.name}"
    return f"{text}: {action.detail}" if action.detail else text


def _reconcile(open_books: OpenBooks, arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    groups: dict[str, list[Group]] = {AGENT_DEVICE: agent_groups_of(config)}
    for group in groups_of(config):
        groups.setdefault(group.device.name, []).append(group)
    chosen = _uplinks(config, arguments.uplink)

    async def all_of_them() -> dict[str, list[Verdict]]:
        async with open_books(config) as books:
            return {
                uplink.name: await _reconcile_one(config, uplink, groups, books, arguments)
                for uplink in chosen
            }

    found = uvloop.run(all_of_them())
    verdicts = [verdict for each in found.values() for verdict in each]
    if arguments.json:
        sys.stdout.write(as_json(found))
    else:
        for uplink, each in found.items():
            print(f"{uplink}:\n{as_table(each)}")
    return EXIT_FAILED if any(each.status in ("missing", "gone") for each in verdicts) else EXIT_WELL


async def _reconcile_one(
    config: Config,
    uplink: ThingsBoardOptions,
    groups: dict[str, list[Group]],
    books: Books,
    arguments: argparse.Namespace,
) -> list[Verdict]:
    now_ms = time.time_ns() // 1_000_000
    until_ms = now_ms - now_ms % HOUR_MS
    claims = await books.claims(uplink.name, until_ms - arguments.days * DAY_MS, until_ms)
    kept_ms = uplink.rest_retention_days * DAY_MS

    async def requeue(name: str, device: str, from_ms: int, to_ms: int) -> None:
        if not arguments.dry_run:
            request = Request(uplink=name, device=device, from_ms=from_ms, to_ms=to_ms)
            leave(config.data_dir / FOLDER, request)

    gateway = uplink.rest_gateway or config.options.agent.site
    site = Site(uplink.name, gateway, groups, books.here, requeue)
    async with _rest(uplink) as rest:
        return await reconcile(
            rest,
            site,
            claims,
            kept_from_ms=now_ms - kept_ms if kept_ms else 0,
            settle_s=arguments.settle_s,
        )


def as_json(found: dict[str, list[Verdict]]) -> str:
    """Every verdict, by uplink."""
    body: dict[str, Any] = {
        uplink: [verdict._asdict() for verdict in verdicts] for uplink, verdicts in found.items()
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def as_table(verdicts: Sequence[Verdict]) -> str:
    """The hours that are not well, and a sum for each device. Hours are UTC."""
    lines = []
    for device in sorted({each.device for each in verdicts}):
        own = [each for each in verdicts if each.device == device]
        delivered, missing = sum(each.delivered for each in own), sum(each.missing for each in own)
        lines.append(f"  {device}: {len(own)} hours, {delivered} readings delivered, {missing} not stored")
        for each in own:
            if each.status in ("missing", "gone"):
                hour = datetime.fromtimestamp(each.hour_ms / 1000, UTC).strftime("%Y-%m-%d %H:00")
                fate = "to be sent again" if each.status == "missing" else "no longer here either"
                lines.append(f"    {hour}Z  {each.delivered:>8} delivered  {each.missing:>8} {fate}")
        if unknown := sum(each.status == "unknown" for each in own):
            lines.append(f"    {unknown} hours are not compared: the device left the configuration")
        if expired := sum(each.status == "expired" for each in own):
            lines.append(f"    {expired} hours are older than rest_retention_days: not compared")
    return "\n".join(lines) if lines else "  nothing was delivered in this time"
