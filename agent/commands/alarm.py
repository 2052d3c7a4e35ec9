"""`alarm list|history|ack|shelve|unshelve --url URL`: the alarms of a running agent."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from agent.commands.remote import Remote
from agent.commands.source import warn_of_plain_http
from agent.commands.terminal import EXIT_FAILED, EXIT_WELL, run, table
from agent.commands.users import password_in

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

HEADS = ("PRIORITY", "STATE", "SINCE", "ID", "TEXT")
HISTORY_HEADS = ("TIME", "CHANGE", "PRIORITY", "ID", "TEXT", "WHO")
HISTORY_MAX = 1000
EXIT_ACTIVE = 3
_SPAN = re.compile(r"(\d{1,6}(?:\.\d+)?)(s|min|h|d)")
_UNIT_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}

Ask = Callable[[Remote, argparse.Namespace], Awaitable[int]]


def add_to(commands: Commands) -> None:
    """`alarm list|history|ack|shelve|unshelve`."""
    text = "the alarms of a running agent"
    actions = commands.add_parser("alarm", help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = _action(actions, "list", "what is active now; exit code 3 if something nobody has seen", _list)
    listing.add_argument("--json", action="store_true", help="as the agent tells it, for programs")
    history = _action(actions, "history", "what happened, newest first", _history)
    history.add_argument("--limit", type=int, default=50, help="how many events (%(default)s)")
    history.add_argument("--id", default="", help="of this alarm only")
    for name, text, ask in (
        ("ack", "acknowledge alarms: you have seen them", _acknowledge),
        ("shelve", "put an alarm away for a time", _shelve),
        ("unshelve", "have a shelved alarm back", _unshelve),
    ):
        one = _action(actions, name, text, ask)
        several = {"nargs": "*"} if name == "ack" else {}
        one.add_argument("id", metavar="ID", help="as `alarm list` shows it", **several)  # type: ignore[arg-type]
        if name == "ack":
            one.add_argument("--all", action="store_true", help="everything that nobody has seen")
        if name == "shelve":
            one.add_argument("--for", dest="span", required=True, help="how long: 30min, 4h, 1d")
            one.add_argument("--reason", default="", help="why, for the history")


def _action(actions: Commands, name: str, text: str, ask: Ask) -> argparse.ArgumentParser:
    one = actions.add_parser(name, help=text, description=text)
    one.add_argument("--url", required=True, help="of the agent, like https://192.168.1.5:8080")
    one.add_argument("--user", required=True, metavar="NAME", help="your name there")
    one.add_argument("--password-file", type=Path, metavar="FILE", help="read the password from here")
    one.add_argument("--ca-file", type=Path, metavar="FILE", help="PEM of who signed its certificate")
    one.add_argument("--language", choices=("pt-BR", "en"), default=_language(), help="(%(default)s)")
    one.set_defaults(command=lambda arguments: _asked(arguments, ask))
    return one


def _language() -> str:
    spoken = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "pt-BR" if spoken.startswith("pt") else "en"


def _asked(arguments: argparse.Namespace, ask: Ask) -> int:
    warn_of_plain_http(arguments.url)
    file: Path | None = arguments.password_file
    password = password_in(file) if file else getpass.getpass(f"Password of {arguments.user}: ")
    codes: list[int] = []

    async def work() -> None:
        async with Remote(arguments.url, arguments.user, password, ca_file=arguments.ca_file) as agent:
            codes.append(await ask(agent, arguments))

    run(work())
    return codes[0]


async def _list(agent: Remote, arguments: argparse.Namespace) -> int:
    said = await agent.get("/api/v1/alarms")
    unseen = [alarm for alarm in said["alarms"] if alarm["state"] in ("unacknowledged", "returned")]
    if arguments.json:
        print(json.dumps(said, ensure_ascii=False, indent=2))
    elif said["alarms"]:
        print(table(HEADS, [_row(alarm, arguments.language) for alarm in said["alarms"]]))
    else:
        print("no alarms")
    if said["left_out"]:
        print(f"and {said['left_out']} more that found no room", file=sys.stderr)
    return EXIT_ACTIVE if unseen else EXIT_WELL


def _row(alarm: dict[str, Any], language: str) -> Sequence[str]:
    text = alarm["text"][language]
    more = [alarm["detail"], "" if alarm["value"] is None else f"{alarm['value']:g}"]
    more.append(f"until {_time(alarm['shelved_until_ms'])}" if alarm["shelved_until_ms"] else "")
    more.append("chattering" if alarm["chattering"] else "")
    said = "; ".join(filter(None, more))
    since = _time(alarm["raised_ms"])
    return alarm["priority"], alarm["state"], since, alarm["id"], f"{text} ({said})" if said else text


async def _history(agent: Remote, arguments: argparse.Namespace) -> int:
    limit = max(1, min(arguments.limit, HISTORY_MAX))
    name = f"&id={quote(arguments.id, safe='')}" if arguments.id else ""
    said = await agent.get(f"/api/v1/alarms/history?limit={limit}{name}")
    rows = [
        (
            _time(event["time_ms"]),
            event["change"],
            event["alarm"]["priority"],
            event["alarm"]["id"],
            "; ".join(filter(None, (event["alarm"]["text"][arguments.language], event["note"]))),
            event["who"],
        )
        for event in said["events"]
    ]
    print(table(HISTORY_HEADS, rows) if rows else "nothing happened yet")
    return EXIT_WELL


async def _acknowledge(agent: Remote, arguments: argparse.Namespace) -> int:
    names: list[str] = arguments.id
    if bool(names) == arguments.all:
        raise RuntimeError("expected ids of alarms, or --all")
    alarms = {alarm["id"]: alarm for alarm in (await agent.get("/api/v1/alarms"))["alarms"]}
    if arguments.all:
        names = [name for name, each in alarms.items() if each["state"] in ("unacknowledged", "returned")]
    failed = 0
    for name in names:
        try:
            await agent.post("/api/v1/alarms/acknowledge", {"id": name})
            print(f"{name}: acknowledged")
        except ConnectionError as error:
            failed += 1
            print(error, file=sys.stderr)
    if not names:
        print("nothing to acknowledge")
    return EXIT_FAILED if failed else EXIT_WELL


async def _shelve(agent: Remote, arguments: argparse.Namespace) -> int:
    body = {"id": arguments.id, "for_s": span_s(arguments.span), "reason": arguments.reason}
    alarm = await agent.post("/api/v1/alarms/shelve", body)
    print(f"{arguments.id}: shelved until {_time(alarm['shelved_until_ms'])}")
    return EXIT_WELL


async def _unshelve(agent: Remote, arguments: argparse.Namespace) -> int:
    alarm = await agent.post("/api/v1/alarms/unshelve", {"id": arguments.id})
    print(f"{arguments.id}: {alarm['state']}")
    return EXIT_WELL


def span_s(text: str) -> float:
    """ "90min" in seconds. RuntimeError says what was expected."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise RuntimeError(f'--for: expected a number with s, min, h or d, like 4h, found "{text}"')
    return float(found[1]) * _UNIT_S[found[2]]


def _time(time_ms: int) -> str:
    """In the local time of who asks."""
    return datetime.fromtimestamp(time_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
