"""Findings in words: every fault in both languages, with its numbers."""

from __future__ import annotations

import pytest

from agent.commissioning.metering import Site
from agent.commissioning.wiring import Confidence, Fault, Finding, check
from agent.commissioning.wiring_text import Language, describe
from tests.commissioning.circuits import Load, circuit, meter

NOW = circuit([Load(5000, 25, k) for k in range(3)])


@pytest.mark.parametrize("language", ["pt", "en"])
@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_has_words(fault: Fault, language: Language) -> None:
    finding = Finding(
        fault, (0, 2), Confidence.HIGH, meter(NOW), number=12.345,
        currents=(2, 1, 0), reversed_=(True, False, False), seen_in=2, of=3,
    )  # fmt: skip
    text = describe(finding, language)
    assert all(text)
    assert "{" not in "".join(text)
    assert "nan" not in "".join(text)


def test_portuguese() -> None:
    (finding,) = check([meter(NOW, amps_from=(1, 0, 2))], Site(generation=False))
    text = describe(finding)
    assert text.title == "Correntes de L1 e L2 trocadas"
    volts, amps, watts, var = text.seen.removeprefix("L1 / L2 / L3: ").split("; ")
    assert (volts, amps) == ("127 / 127 / 127 V", "43,4 / 43,4 / 43,4 A")
    assert (watts, var) == ("-4519 / -481 / 5000 W", "3164 / -5496 / 2332 var")
    assert "a entrada de L1 recebe a corrente de L2, a entrada de L2 recebe a corrente de L1" in text.action
    assert text.confidence == "quase certo"


def test_english() -> None:
    finding, *_ = check([meter(NOW, turned=(False, True, False))] * 2, Site(generation=False))
    text = describe(finding, "en")
    assert text.title == "Current transformer of L2 reversed"
    assert text.action.startswith("Turn the CT of L2 round, or exchange its two secondary wires.")
    assert text.seen.endswith("5000 / -5000 / 5000 W; 2332 / -2332 / 2332 var; in 2 of 2 readings")


def test_both_languages_say_the_same_things() -> None:
    import tomllib
    from pathlib import Path

    import agent.commissioning as package

    file = Path(package.__file__).with_name("wiring_text.toml")
    texts = tomllib.loads(file.read_text(encoding="utf-8"))
    shape = {language: {key: set(table) for key, table in part.items()} for language, part in texts.items()}
    assert shape["pt"] == shape["en"]
    assert set(Fault) <= set(shape["en"])
