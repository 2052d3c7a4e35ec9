"""Every word in both languages, and none that nobody says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.dispatch import Dispatch, Priority, Refused
from agent.model import Device, Group, Kind, Point, Writable

ROOT = Path(__file__).parent.parent.parent
AGENT, SOURCE = ROOT / "agent", ROOT / "web" / "src"
REFUSALS = SOURCE / "text" / "refusals.pt-BR.json"


def texts(name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((SOURCE / "text" / f"{name}.json").read_text(encoding="utf-8"))
    return found


AC = Group(
    Device("ac", "split"),
    "all",
    (
        Point("setpoint", "°C", writable=Writable(16, 30, 0.5)),
        Point("low", writable=Writable(low=16)),
        Point("high", writable=Writable(high=30)),
        Point("mode", kind=Kind.STATE, states={1: "x"}, writable=Writable()),
        Point("room"),
    ),
    1000,
)


async def _write(device: str, point: str, value: float) -> None:
    raise AssertionError


def refusals_of_commands() -> Iterator[str]:
    dispatch = Dispatch([AC], _write)
    for point, value, lease_s in (
        *(
            ("setpoint", 40, 60),
            ("setpoint", 20.2, 60),
            ("setpoint", float("nan"), 60),
            ("setpoint", 20, 1e9),
        ),
        *(("low", 1, 60), ("high", 99, 60), ("mode", 2, 60), ("room", 1, 60), ("nothing", 1, 60)),
    ):
        with pytest.raises(Refused) as refused:
            dispatch.submit(f"ac.{point}", value, Priority.MANUAL, "ana", lease_s)
        yield str(refused.value)


def test_why_a_command_is_refused_is_said_in_portuguese() -> None:
    phrases: list[tuple[str, str]] = json.loads(REFUSALS.read_text(encoding="utf-8"))["phrases"]
    for text in refusals_of_commands():
        said = text
        for english, own in phrases:
            said = re.sub(english, own, said)
        assert said != text
        assert not re.search(r"\b(expected|found|not|of|from|to|written)\b", said), said


def test_what_is_translated_is_what_the_agent_says() -> None:
    found = json.loads(REFUSALS.read_text(encoding="utf-8"))
    code = "".join(each.read_text(encoding="utf-8") for each in AGENT.rglob("*.py"))
    code = re.sub(r'"\n\s*f?"', "", code)
    assert {each for each in found["codes"] if f'"{each}"' not in code} == set()
    said = "\n".join(refusals_of_commands())
    for english, _ in found["phrases"]:
        fixed = max(re.split(r"\(.+?\)\??|\\w\+|\\|\$", english), key=len)
        assert fixed in code or re.search(english, said, re.MULTILINE), english


def test_both_languages_say_the_same_things_with_the_same_blanks() -> None:
    portuguese, english = texts("pt-BR"), texts("en")
    assert portuguese.keys() == english.keys()
    for key, text in portuguese.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", english[key])), key


def test_every_text_that_is_asked_for_is_there() -> None:
    code = "".join(each.read_text(encoding="utf-8") for each in sorted(SOURCE.glob("*.js")))
    page = (SOURCE / "index.html").read_text(encoding="utf-8")
    asked = set(re.findall(r'\bt\("(\w+)"', code)) | set(re.findall(r'data-t": "(\w+)"', code))
    asked |= set(re.findall(r'data-(?:t|label|placeholder)="(\w+)"', page))
    assert asked
    assert asked <= texts("en").keys()


def test_no_text_is_left_over() -> None:
    said = "".join(each.read_text(encoding="utf-8") for each in [*SOURCE.glob("*.js"), SOURCE / "index.html"])
    codes = "totp_required invalid_totp totp_replayed totp_locked clock_untrusted invalid_code setup_closed"
    codes += " invalid_client too_many_attempts"  # what the server answers
    computed = re.compile(r"^(by|is|nav|job|own|result|report|making)_")
    idle = {key for key in texts("en") if not computed.match(key) and not re.search(rf"\b{key}\b", said)}
    known = {"good", "uncertain", "bad", "critical", "high", "medium", "low", "shelved", "suppressed"}
    assert idle <= set(codes.split()) | known | {"acknowledged", "unacknowledged", "returned", "invalid"}
