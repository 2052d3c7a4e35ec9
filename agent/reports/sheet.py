"""CSV beside a report: what its figures are drawn from, for a spreadsheet of the reader's language."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from agent.reports.words import Words

Cell = str | int | float | None
_QUOTED = frozenset('";,\n\r')
_FORMULA = ("=", "+", "-", "@", "\t")


def csv(words: Words, heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Decimal comma and semicolons in Portuguese, point and commas in English; UTF-8 with its mark, which
    spreadsheets ask for. A text that a spreadsheet would run is made harmless."""
    separator = ";" if words.is_portuguese else ","
    lines = [separator.join(map(_text, heads))]
    lines += [separator.join(_written(each, words) for each in row) for row in rows]
    return ("\ufeff" + "\r\n".join(lines) + "\r\n").encode()


def _written(cell: Cell, words: Words) -> str:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    if isinstance(cell, str):
        return _text(cell)
    text = f"{cell:.6f}".rstrip("0").rstrip(".") if isinstance(cell, float) else str(cell)
    text = "0" if text in ("-0", "") else text
    return text.replace(".", ",") if words.is_portuguese else text


def _text(text: str) -> str:
    safe = f"'{text}" if text.startswith(_FORMULA) else text
    return f'"{safe.replace(chr(34), chr(34) * 2)}"' if _QUOTED & set(safe) else safe


def times(words: Words, times_ms: Iterable[int]) -> Iterator[str]:
    """Local time with its distance from UTC, which makes it one instant on any day."""
    for each in times_ms:
        yield datetime.fromtimestamp(each / 1000, words.zone).isoformat(timespec="minutes")
