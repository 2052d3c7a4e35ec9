"""What control says of itself, in the language of who reads it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.control.site.words import translated

CONTROL = Path(__file__).parents[3] / "agent" / "control"
SAID_BY = {"Wish", "Rest", "append", "OwnWish", "OSError"}
ENGLISH = re.compile(r"\b(the|is|are|for|not|and|of|it|room|unit|starts?|empty|occupied|plan|own|last)\b")


def reasons() -> Iterator[str]:
    """Every text that becomes a reason, numbers as 7.5."""
    for name in ("ladder", "wishes", "decide", "guards", "outline", "site/own"):
        for node in ast.walk(ast.parse((CONTROL / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Return):
                yield from _texts(node)
            elif isinstance(node, ast.Call):
                called = node.func
                named = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                if named in SAID_BY:
                    yield from _texts(node)


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "7.5" for part in node.values)  # type: ignore[misc]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _texts(child)


def test_each_reason_has_its_portuguese() -> None:
    found = {text for text in reasons() if " " in text}
    assert len(found) > 25
    left = {text: translated(text, "pt") for text in found if ENGLISH.search(translated(text, "pt"))}
    assert not left


@pytest.mark.parametrize(
    ("english", "portuguese"),
    [
        ("start rule: occupied, 24.7 °C (new here)", "regra de partida: ocupada, 24,7 °C (recém-chegado)"),
        ("3.2 days recorded, 5 needed", "3,2 dias registrados, são precisos 5"),
        (
            "four hours ahead 0.43 K, staying as it is 2.90 K",
            "a quatro horas erra 0,43 K; supor tudo igual, 2,90 K",
        ),
    ],
)
def test_numbers_have_a_comma_in_portuguese(english: str, portuguese: str) -> None:
    assert translated(english, "pt") == portuguese
    assert translated(english, "en") == english
