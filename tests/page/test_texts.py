"""Every word in both languages, and none that nobody says."""

from __future__ import annotations

import json
import re
from pathlib import Path

SOURCE = Path(__file__).parent.parent.parent / "web" / "src"


def texts(name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((SOURCE / "text" / f"{name}.json").read_text(encoding="utf-8"))
    return found


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
