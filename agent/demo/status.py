"""The demo's live status, one line for the terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping

_FIELDS = (
    ("{} readings/s", "readings_per_s"),
    ("{} values/s", "values_per_s"),
    ("stored {}", "stored"),
    ("forwarded {}", "forwarded"),
    ("backlog {}", "backlog"),
    ("centre received {}", "center_received"),
)


def status_line(numbers: Mapping[str, float]) -> str:
    """Known keys: readings_per_s, values_per_s, stored, forwarded, backlog, center_received.

    Thousands are set apart; what is not in `numbers` shows as "-".
    """
    return " | ".join(text.format(_shown(numbers.get(key))) for text, key in _FIELDS)


def _shown(number: float | None) -> str:
    if number is None:
        return "-"
    digits = 1 if number != round(number) else 0
    return f"{number:,.{digits}f}".replace(",", " ")
