"""In which order a serial port is searched for devices, and how long that takes. Pure.

Rules. Every pair of settings and address is asked once, the likely ones first: settings that devices come
with, addresses that people choose. The port is set anew as rarely as that order allows. A device that
answers anything at all, even "no such register", is there; what it is, `identify.py` finds out.
Nothing is ever written, and address 0 (everyone) is never used.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

REQUEST_BYTES, ANSWER_BYTES = 8, 9
SILENCE_BYTES = 3.5
LATENCY_S = 0.15  # devices think for 20 to 200 ms
REOPEN_S = 0.1


class Settings(NamedTuple):
    """Of a serial port; its text is "9600 8N1", as a profile's `serial` has it."""

    baudrate: int
    bytesize: int = 8
    parity: str = "N"
    stopbits: int = 1

    def __str__(self) -> str:
        return f"{self.baudrate} {self.bytesize}{self.parity}{self.stopbits}"

    @property
    def byte_s(self) -> float:
        """How long a character takes on the wire, with start, parity and stop bits."""
        return (1 + self.bytesize + (self.parity != "N") + self.stopbits) / self.baudrate


def settings_of(text: str) -> Settings:
    """ "9600 8N1" as settings; ValueError if it is not such a text."""
    found = re.fullmatch(r"(\d+) ([78])([NEO])([12])", text)
    if not found:
        raise ValueError(f"expected settings like '9600 8N1', found {text!r}")
    baudrate, bytesize, parity, stopbits = found.groups()
    return Settings(int(baudrate), int(bytesize), parity, int(stopbits))


# As devices come from the factory, the commonest first (device-facts: PZEM, SDM630, XY-MD02 and many more;
# SDM120 and 230; Samsung, PM1200, ADL400; Schneider, ABB; ...).
LIKELY = tuple(map(settings_of, ("9600 8N1", "2400 8N1", "9600 8E1", "19200 8E1", "19200 8N1", "38400 8N1")))
RARE = tuple(
    map(
        settings_of,
        ("4800 8N1", "9600 8N2", "115200 8N1", "57600 8N1", "38400 8E1", "1200 8N1", "4800 8E1",
         "19200 8N2", "2400 8E1", "57600 8E1", "115200 8E1", "9600 8O1", "19200 8O1", "38400 8N2"),
    )
)  # fmt: skip
SETTINGS = LIKELY + RARE
LIKELY_UNITS = (*range(1, 11), 11, 12, 20, 100, 126, 247)
UNITS = (*LIKELY_UNITS, *(unit for unit in range(1, 248) if unit not in LIKELY_UNITS))
ANY_UNITS = (254, 248)  # Kron's own; SenseAir and PZEM answer to these whatever their address is


class Probe(NamedTuple):
    """One question: 2 registers from 0 on, holding or input. `after_s`: how long all before it take.

    `any_unit`: an answer may be of a device with another address, ask only where one is on the line.
    """

    settings: Settings
    unit_id: int
    table: str
    timeout_s: float
    after_s: float
    any_unit: bool = False


def probes(
    settings: Sequence[Settings] = SETTINGS,
    units: Sequence[int] = UNITS,
    *,
    any_units: Sequence[int] = ANY_UNITS,
    latency_s: float = LATENCY_S,
) -> Iterator[Probe]:
    """Every question of a scan, in its order. Devices that keep silent are reckoned with.

    A few devices know only the input table and say nothing at all to the other: the likely
    addresses are asked for that too, at the end.
    """
    after_s, last = 0.0, None
    for each, unit, table in _questions(settings, units, any_units):
        if each != last:
            after_s, last = after_s + REOPEN_S, each
        wait_s = timeout_s(each, latency_s)
        yield Probe(each, unit, table, wait_s, after_s, unit in any_units)
        after_s += duration_s(each, latency_s)


def _questions(
    settings: Sequence[Settings], units: Sequence[int], any_units: Sequence[int]
) -> Iterator[tuple[Settings, int, str]]:
    likely = [each for each in settings if each in LIKELY] or list(settings[:1])
    rare = [each for each in settings if each not in likely]
    near = [unit for unit in units if unit in LIKELY_UNITS]
    far = [unit for unit in units if unit not in LIKELY_UNITS]
    passes = (
        (likely, near, "holding"),
        (likely, any_units, "input"),
        (rare, near, "holding"),
        (likely, far, "holding"),
        (likely, near, "input"),
        (rare, far, "holding"),
    )
    for some, chosen, table in passes:
        yield from ((each, unit, table) for each in some for unit in chosen)


def timeout_s(settings: Settings, latency_s: float = LATENCY_S) -> float:
    """How long an answer may take to begin and to come in, after the request has gone out."""
    return latency_s + ANSWER_BYTES * settings.byte_s


def duration_s(settings: Settings, latency_s: float = LATENCY_S) -> float:
    """How long a question takes that nobody answers."""
    return (REQUEST_BYTES + SILENCE_BYTES) * settings.byte_s + timeout_s(settings, latency_s)


def total_s(
    settings: Sequence[Settings] = SETTINGS,
    units: Sequence[int] = UNITS,
    *,
    any_units: Sequence[int] = ANY_UNITS,
    latency_s: float = LATENCY_S,
) -> float:
    """How long the whole scan takes if nobody answers, seconds."""
    last = deque(probes(settings, units, any_units=any_units, latency_s=latency_s), maxlen=1)
    return last[0].after_s + duration_s(last[0].settings, latency_s) if last else 0.0


def settings_of_devices(serials: Iterable[str], baudrates: Sequence[int] = ()) -> tuple[Settings, ...]:
    """All that devices come with; of `baudrates` only, those with 8N1 and 8E1 that are not among them too."""
    known = with_factory_settings(serials)
    if not baudrates:
        return known
    chosen = [each for each in known if each.baudrate in baudrates]
    rare = [
        Settings(rate, parity=parity)
        for rate in dict.fromkeys(baudrates)
        if not any(each.baudrate == rate for each in known)
        for parity in "NE"
    ]
    return (*chosen, *rare)


def with_factory_settings(serials: Iterable[str]) -> tuple[Settings, ...]:
    """All settings, those of the profiles' `serial` among them, the usual order kept."""
    extra = {settings_of(text): None for text in serials}
    return SETTINGS + tuple(each for each in extra if each not in SETTINGS)
