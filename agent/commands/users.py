"""`uicps-agent user|key|signing-key|audit ...`: on the same files as the running agent's, which notices.

Each command is a coroutine that gets what was typed and the folder of the agent's files.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import getpass
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.commands.terminal import EXIT_WELL, run
from agent.config import load
from agent.server.audit import AUDIT_FILE, Audit, Query
from agent.server.audit.routes import HEADER, cells
from agent.server.identity.keys import Keys
from agent.server.identity.permissions import SCOPES, Role
from agent.server.identity.second_factor import SecondFactors
from agent.server.identity.signing import rotate
from agent.server.identity.users import UserError, Users
from agent.server.office import IDENTITY_FILE, ISSUER, KEY_FILE

if TYPE_CHECKING:
    from agent.commands.terminal import Commands

_Work = Callable[[argparse.Namespace, Path], Awaitable[None]]

OVERLAP_S = 90 * 86400.0  # as long as a refresh token may last at most


def add_to(commands: Commands) -> None:
    """`user`, `key`, `signing-key`, `audit`."""
    user = _group(commands, "user", "who may use the server on the local network")
    for name, text, command in (
        ("add", "add a user; asks for the password", add_user),
        ("passwd", "set a new password; his sessions end", set_password),
        ("role", "change a role; his sessions end", set_role),
        ("disable", "lock a user out, at once", disable_user),
        ("unlock", "let a user in again, and forget his failed logins", unlock_user),
        ("remove", "forget a user", remove_user),
        ("totp", "set up a second factor, or --off", set_totp),
    ):
        one = _one(user, name, text, command)
        one.add_argument("name", metavar="NAME")
        if name in ("add", "passwd"):
            one.add_argument(
                "--password-file", type=Path, help="read the password from here instead of asking"
            )
        if name in ("add", "role"):
            roles = [role.value for role in Role]
            one.add_argument("--role", choices=roles, required=name == "role", default="viewer")
        if name == "totp":
            one.add_argument("--off", action="store_true", help="remove it: a lost phone")
    _one(user, "list", "list the users", list_users)

    key = _group(commands, "key", "API keys for machines")
    new = _one(key, "add", "make a key; it is shown once", add_key)
    new.add_argument("name", metavar="NAME")
    new.add_argument(
        "--scope", action="append", required=True, choices=sorted(SCOPES), help="may be repeated"
    )
    new.add_argument("--days", type=int, help="good for so long (until revoked)")
    _one(key, "list", "list the keys", list_keys)
    _one(key, "revoke", "end a key, at once", revoke_key).add_argument("name", metavar="NAME")

    signing = _group(commands, "signing-key", "what tokens are signed with")
    one = _one(signing, "rotate", "sign with a new key from now on", rotate_signing_key)
    one.add_argument("--at-once", action="store_true", help="the old keys are good no more: all log in again")

    audit = _one(commands, "audit", "who did what, from where", show_audit)
    audit.add_argument("--limit", type=int, default=50, help="how many of the newest (%(default)s)")
    audit.add_argument("--kind", default="", help="only kinds that begin so: login, token., user.")
    audit.add_argument("--who", default="", help="only of this user")
    audit.add_argument("--csv", action="store_true", help="as CSV")
    audit.add_argument("--verify", action="store_true", help="check the chain of hashes instead")


def _group(commands: Commands, name: str, text: str) -> Commands:
    return commands.add_parser(name, help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )


def _one(group: Commands, name: str, text: str, work: _Work) -> argparse.ArgumentParser:
    """A command on the files of the agent that CONFIG describes."""

    def command(arguments: argparse.Namespace) -> int:
        config = load(arguments.config)

        async def on_files() -> None:
            await work(arguments, config.data_dir)

        run(on_files())
        return EXIT_WELL

    one = group.add_parser(name, help=text, description=text)
    one.add_argument("config", type=Path, metavar="CONFIG")
    one.set_defaults(command=command)
    return one


class _Files(NamedTuple):
    users: Users
    audit: Audit

    def note(self, kind: str, name: str, **what: object) -> None:
        self.audit.note(kind, who=f"console:{getpass.getuser()}", peer="local", user=name, **what)


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[_Files]:
    async with Users(folder / IDENTITY_FILE) as users, Audit(folder / AUDIT_FILE) as audit:
        yield _Files(users, audit)


async def add_user(typed: argparse.Namespace, folder: Path) -> None:
    password = _password(typed.password_file)
    async with _opened(folder) as files:
        user = await files.users.add(typed.name, password, typed.role)
        files.note("user.added", user.name, after={"role": user.role})
    print(f"user {typed.name} added as {typed.role}")


async def set_password(typed: argparse.Namespace, folder: Path) -> None:
    async with _opened(folder) as files:
        await files.users.known(typed.name)
        await files.users.set_password(typed.name, _password(typed.password_file))
        files.note("user.password", typed.name)
    print(f"password of {typed.name} changed")


async def set_role(typed: argparse.Namespace, folder: Path) -> None:
    async with _opened(folder) as files:
        before = await files.users.known(typed.name)
        await files.users.set_role(typed.name, typed.role)
        files.note("user.role", typed.name, before=before.role, after=typed.role)
    print(f"{typed.name}: {before.role} -> {typed.role}")


async def disable_user(typed: argparse.Namespace, folder: Path) -> None:
    async with _opened(folder) as files:
        await files.users.set_disabled(typed.name, True)
        files.note("user.disabled", typed.name)
    print(f"user {typed.name} is locked out")


async def unlock_user(typed: argparse.Namespace, folder: Path) -> None:
    async with _opened(folder) as files:
        await files.users.unlock(typed.name)
        files.note("user.unlocked", typed.name)
    print(f"user {typed.name} may log in")


async def remove_user(typed: argparse.Namespace, folder: Path) -> None:
    async with _opened(folder) as files:
        user = await files.users.known(typed.name)
        await files.users.remove(typed.name)
        files.note("user.removed", typed.name, before={"role": user.role})
    print(f"user {typed.name} removed")


async def set_totp(typed: argparse.Namespace, folder: Path) -> None:
    async with _opened(folder) as files:
        user = await files.users.known(typed.name)
        factors = SecondFactors(files.users.database, ISSUER)
        if typed.off:
            await factors.remove(user.name)
            files.note("user.totp", user.name, before=user.second_factor, after=False)
            print(f"{user.name} has no second factor any more")
            return
        enrolment = factors.begin(user.name)
        print(enrolment.terminal())
        print(f"Scan this with an authenticator app, or type: {enrolment.secret}")
        code = await asyncio.to_thread(input, "Code that the app shows: ")
        codes = await factors.confirm(user.name, code)
        if codes is None:
            raise UserError("the code is not of this secret and time, nothing changed; is the clock right?")
        files.note("user.totp", user.name, before=user.second_factor, after=True)
    print("The second factor is on. Recovery codes, each good once, shown only now:\n")
    print("\n".join(f"  {code}" for code in codes))


async def list_users(typed: argparse.Namespace, folder: Path) -> None:
    async with Users(folder / IDENTITY_FILE) as users:
        for user in await users.list():
            marks = ("second factor" if user.second_factor else "", "disabled" if user.disabled else "")
            print(f"{user.name:24} {user.role:12} {', '.join(filter(None, marks))}".rstrip())


async def add_key(typed: argparse.Namespace, folder: Path) -> None:
    async with _opened(folder) as files:
        keys = Keys(files.users.database)
        key, text = await keys.add(typed.name, typed.scope, f"console:{getpass.getuser()}", typed.days)
        files.note("key.added", key.name, after={"id": key.id, "scopes": sorted(key.scopes)})
    print(f"{text}\n\nThis is shown only now. Send it as: Authorization: Bearer {text[:8]}...", flush=True)


async def list_keys(typed: argparse.Namespace, folder: Path) -> None:
    async with Users(folder / IDENTITY_FILE) as users:
        for key in await Keys(users.database).list():
            until = "until revoked" if key.expires_s is None else f"until {_utc(key.expires_s)}"
            print(f"{key.name:24} {key.id}  {' '.join(sorted(key.scopes)):24} {until}, by {key.created_by}")


async def revoke_key(typed: argparse.Namespace, folder: Path) -> None:
    async with _opened(folder) as files:
        key = await Keys(files.users.database).revoke(typed.name)
        files.note("key.revoked", key.name, before={"id": key.id, "scopes": sorted(key.scopes)})
    print(f"key {key.name} revoked")


async def rotate_signing_key(typed: argparse.Namespace, folder: Path) -> None:
    key = rotate(folder / KEY_FILE, time.time(), 0.0 if typed.at_once else OVERLAP_S)
    async with _opened(folder) as files:
        files.note("signing-key.rotated", "", after={"kid": key.name}, at_once=typed.at_once)
    print(f"tokens are signed with key {key.name} now")


async def show_audit(typed: argparse.Namespace, folder: Path) -> None:
    async with Audit(folder / AUDIT_FILE) as audit:
        if typed.verify:
            broken = await audit.broken_at()
            if broken is not None:
                raise UserError(
                    f"the audit log was changed: entry {broken} does not follow from the one before"
                )
            print("the chain of hashes is whole")
            return
        out, left = csv.writer(sys.stdout), max(1, typed.limit)
        if typed.csv:
            out.writerow(HEADER)
        async for entries in audit.all(Query(kind=typed.kind, who=typed.who)):
            for entry in entries[:left]:
                row = cells(entry)
                if typed.csv:
                    out.writerow(row)
                else:
                    print("  ".join((row[1], f"{row[2]:20}", f"{row[3]:16}", f"{row[4]:15}", row[5])))
            left -= len(entries)
            if left <= 0:
                return


def _utc(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix_s))


def _password(file: Path | None) -> str:
    if file:
        return password_in(file)
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UserError("the two passwords differ, nothing was changed")
    return password


def password_in(file: Path) -> str:
    """What a file holds is the password, but for the end of its line; OSError if it cannot be read."""
    return file.read_text(encoding="utf-8").rstrip("\r\n")
