"""What a search found, as rows for people, as data, and as tables of a configuration. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from agent.commissioning.identify import Presence
from agent.commissioning.search import PARITY, Found

HEADS = ("WHERE", "UNIT", "WHAT IT IS", "HOW SURE", "ANSWER")
UNKNOWN_PROFILE = "which-profile"
MARGIN, RIVALS_MAX = 2.0, 3  # a profile whose proof is weaker by so much is no rival
NOTES = {
    Presence.DEVICE: "",
    Presence.EVERY_ADDRESS: "answers at every unit id",
    Presence.ONLY_ZEROS: "answers nothing but zeros",
    Presence.ONCE: "answered once and not again: too slow (try --wait-ms 1000), or a weak line?",
}
IDENTITY_NAMES = {0: "maker", 1: "product", 2: "revision", 3: "url", 4: "name", 5: "model", 6: "application"}


def row(found: Found) -> tuple[str, ...]:
    """One line of the table of HEADS; the answer is the frame as it came, in hex."""
    return (
        found.where,
        f"{found.unit_id}?" if found.any_unit else str(found.unit_id),
        "; ".join(filter(None, (_what(found), _note(found)))),
        _how_sure(found),
        found.exchange.answer.hex(" "),
    )


def _what(found: Found) -> str:
    said = " ".join(found.identity[at] for at in (0, 1, 2, 4, 5) if found.identity.get(at))
    names = likeliest(found)
    return ", ".join([*([f'says "{said}"'] if said else []), " or ".join(names)]).strip(", ") or "unknown"


def likeliest(found: Found) -> list[str]:
    """The profiles that fit about as well as the best does, the best first."""
    if not found.matches:
        return []
    least = found.matches[0].strength - MARGIN
    return [match.profile for match in found.matches[:RIVALS_MAX] if match.strength > least]


def _note(found: Found) -> str:
    if found.any_unit:
        return "its own address is another one"
    return NOTES.get(found.presence, "")


def _how_sure(found: Found) -> str:
    if not found.matches:
        return "-"
    strength = found.matches[0].strength
    if strength >= 5 and len(likeliest(found)) == 1:
        return "sure"
    return "likely" if strength >= 3 else "a hint"


def as_data(found: Found) -> dict[str, Any]:
    """The same for programs."""
    return {
        "host": found.host,
        "port": found.port or None,
        "settings": str(found.settings) if found.settings else None,
        "unit_id": found.unit_id,
        "any_unit": found.any_unit,
        "presence": found.presence.value,
        "table": found.table,
        "request": found.exchange.request.hex(),
        "answer": found.exchange.answer.hex(),
        "identity": {IDENTITY_NAMES.get(at, str(at)): text for at, text in sorted(found.identity.items())},
        "profiles": [
            {"profile": match.profile, "title": match.title, "strength": match.strength, "seen": match.seen}
            for match in found.matches
        ],
    }


def as_toml(found: Iterable[Found], port_name: Callable[[str], str] = lambda port: port) -> str:
    """Tables to paste: a `[[line]]` for each place, with its devices; what cannot be used is a comment.

    Of several settings on one wire those that were found first count. `port_name` gives the name of a serial
    port that stays the same after a restart.
    """
    all_of_them = list(found)
    known = {each.where for each in all_of_them if not each.any_unit}
    # What answers to an address that is anybody's has one of its own: once that is known, it counts.
    usable = [
        each
        for each in all_of_them
        if each.presence is not Presence.ONCE and not (each.any_unit and each.where in known)
    ]
    order = {where: at for at, where in enumerate(dict.fromkeys(each.where for each in usable))}
    usable.sort(key=lambda each: (order[each.where], each.unit_id))
    texts, seen = list[str](), set[str]()
    for _, group in groupby(usable, key=lambda each: each.where):
        devices = list(group)
        text = _line(devices, len(texts) + 1, port_name)
        if devices[0].settings and devices[0].host in seen:
            text = _commented(
                "Other settings on the same wire: set these devices to those of the line above.", text
            )
        seen.add(devices[0].host)
        texts.append(text)
    return "\n\n".join(texts)


def _line(devices: Sequence[Found], number: int, port_name: Callable[[str], str]) -> str:
    first = devices[0]
    lines = ["[[line]]", f'name = "{"bus" if first.settings else "net"}-{number}"']
    if first.settings:
        lines += ['driver = "modbus-rtu"', f"port = {json.dumps(port_name(first.host))}"]
        lines += [f"baudrate = {first.settings.baudrate}", f"bytesize = {first.settings.bytesize}"]
        lines += [f'parity = "{PARITY[first.settings.parity]}"', f"stopbits = {first.settings.stopbits}"]
    else:
        lines += ['driver = "modbus-tcp"', f"host = {json.dumps(first.host)}", f"port = {first.port}"]
    return "\n\n".join(["\n".join(lines), *(_device(each, number) for each in devices)])


def _device(found: Found, number: int) -> str:
    profile = found.matches[0].profile if found.matches else UNKNOWN_PROFILE
    lines = [
        "[[line.device]]",
        f'name = "{profile if found.matches else "device"}-{number}-{found.unit_id}"',
        f'profile = "{profile}"',
        f"unit_id = {found.unit_id}",
    ]
    if not found.matches:
        text = (
            'No profile fits: look at it with "uicps-agent read", write one (docs/profiles.md), name it here.'
        )
        return _commented(text, "\n".join(lines))
    if found.any_unit:
        lines[3] += "   # anybody's address: right only while it is alone on the line"
    if rivals := likeliest(found)[1:]:
        lines[2] += f"   # or: {', '.join(rivals)}"
    return "\n".join(lines)


def _commented(reason: str, text: str) -> str:
    body = "\n".join(f"# {line}".rstrip() for line in text.splitlines())
    return f"# {reason}\n{body}"
