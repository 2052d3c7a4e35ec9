"""What a device that answers is. Sans I/O: a generator asks, is sent the answers, and returns its verdict.

Drive it so: `ask = next(steps)`, then `ask = steps.send(answer)` until StopIteration, whose value is the
verdict. An answer is the registers, Refused for an exception, ECHO if the request itself came back,
None if nothing came.

Rules (device-facts, pitfall 27). An echo is the adapter, not a device. Zeros alone prove nothing: some
devices answer zero to whatever they are asked. One frame may be chance: a device answers twice. If an
address that nobody has answers too, a gateway answers for everyone. A model is named only if each
of its fingerprints fits, and how much that says depends on what was looked at.
"""

from __future__ import annotations

import enum
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.drivers.modbus.codec import Coding, decoder, words
from agent.drivers.modbus.fingerprint import Fingerprint
from agent.drivers.modbus.pdu import Table
from agent.drivers.modbus.profile import ModbusProfile


class Refused(NamedTuple):
    """The device answered with this exception: it is there, but has no such register."""

    code: int


class Echo(enum.Enum):
    """The request came back as it was sent."""

    ECHO = 0


ECHO = Echo.ECHO
Answer = Sequence[int] | Refused | Echo | None


class Ask(NamedTuple):
    """Read `width` registers."""

    unit_id: int
    table: Table
    address: int
    width: int


class Presence(enum.StrEnum):
    """What an answer was worth."""

    DEVICE = "device"
    ECHO = "echo"
    EVERY_ADDRESS = "every_address"
    ONLY_ZEROS = "only_zeros"
    ONCE = "once"
    SILENT = "silent"


class Match(NamedTuple):
    """A profile whose every fingerprint fits. `strength`: what that says: 2 is a hint, 5 and more a proof."""

    profile: str
    title: str
    strength: float
    seen: tuple[str, ...]


RANGE, OWN_ADDRESS, CODE = 1.0, 3.0, 4.0
Steps = Generator[Ask, Answer, Presence]


def is_echo(request: bytes, answer: bytes) -> bool:
    """Whether what came is the request, alone or in front of something."""
    return bool(request) and answer.startswith(request)


def presence(unit_id: int, table: Table = "holding") -> Steps:
    """Ask until it is known whether a device is at `unit_id`, which gave a sign of life."""
    seen: list[Answer] = []
    for ask in (Ask(unit_id, table, 0, 2), Ask(unit_id, table, 0, 2), Ask(unit_id, _other(table), 0, 2)):
        answer = yield ask
        if answer is ECHO:
            return Presence.ECHO
        seen.append(answer)
    came = [answer for answer in seen if answer is not None]
    if len(came) < 2:
        return Presence.ONCE if came else Presence.SILENT
    ghost = yield Ask(_nobody(unit_id), table, 0, 2)
    if ghost is not None:
        return Presence.EVERY_ADDRESS
    if any(isinstance(answer, Refused) or _says_something(answer) for answer in came):
        return Presence.DEVICE
    # All zeros so far: one that knows its own map refuses the end of the table, or has something there.
    last = yield Ask(unit_id, table, 0xFFFE, 2)
    return Presence.DEVICE if isinstance(last, Refused) or _says_something(last) else Presence.ONLY_ZEROS


def _other(table: Table) -> Table:
    return "input" if table == "holding" else "holding"


def _nobody(unit_id: int) -> int:
    """An address that is hardly in use beside this one."""
    return unit_id - 97 if unit_id > 150 else unit_id + 89


def _says_something(answer: Answer) -> bool:
    return isinstance(answer, Sequence) and any(answer)


def identification(
    unit_id: int, profiles: Mapping[str, ModbusProfile]
) -> Generator[Ask, Answer, list[Match]]:
    """Ask for every fingerprint, each register once; return the profiles that fit, the surest first."""
    known: dict[Ask, Answer] = {}
    matches = []
    for name, profile in profiles.items():
        strength, seen = 0.0, []
        for mark in profile.fingerprint:
            coding = _coding(profile, mark)
            ask = Ask(unit_id, mark.table or profile.table, mark.address, words(coding.kind))
            if ask not in known:
                known[ask] = yield ask
            worth, text = judge(mark, coding, known[ask], unit_id)
            if not worth:
                break
            strength += worth
            seen.append(f"{ask.table} {ask.address}: {text}")
        else:
            if seen:
                matches.append(Match(name, profile.title, strength, tuple(seen)))
    return sorted(matches, key=lambda match: (-match.strength, match.profile))


def _coding(profile: ModbusProfile, mark: Fingerprint) -> Coding:
    return Coding(kind=mark.type or profile.type, order=mark.order or profile.order)


def judge(mark: Fingerprint, coding: Coding, answer: Answer, unit_id: int) -> tuple[float, str]:
    """What it is worth that a fingerprint fits, and what was seen; 0 if it does not fit."""
    if not isinstance(answer, Sequence) or len(answer) != words(coding.kind) or not any(answer):
        return 0.0, ""
    raw = decoder(coding)(answer, 0)
    value = raw * mark.scale
    if mark.one_of:
        return (
            CODE if raw in mark.one_of else 0.0
        ), f"{int(raw) if raw == raw // 1 else raw:#x} as it should"
    if mark.is_unit_id:
        return (OWN_ADDRESS if value == unit_id else 0.0), f"{value:g}, its own address"
    low, high = mark.min or 0.0, mark.max or 0.0
    return (RANGE if low <= value <= high else 0.0), f"{value:g}, between {low:g} and {high:g}"


def asks(profiles: Iterable[ModbusProfile]) -> int:
    """At most so many questions an identification takes."""
    return len(
        {
            (mark.table or profile.table, mark.address, words(_coding(profile, mark).kind))
            for profile in profiles
            for mark in profile.fingerprint
        }
    )
