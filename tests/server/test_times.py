from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.server.times import TIME_MS_MAX, iso, time_ms


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("0", 0),
        ("1767323045678", 1767323045678),
        ("2026-01-02T03:04:05.678Z", 1767323045678),
        ("2026-01-02T00:04:05.6789-03:00", 1767323045678),
        ("2026-01-02T00:04:05.678 -0300".replace(" -", "-"), 1767323045678),
        ("2026-01-02 05:04:05.678+02:00", 1767323045678),
        ("2026-01-02T05:04:05.678 02:00", 1767323045678),
        ("20260102T030405.678Z", 1767323045678),
    ],
)
def test_an_instant_is_read(text: str, expected_ms: int) -> None:
    assert time_ms(text) == expected_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "-1",
        "1.5",
        "1e9",
        "9" * 15,
        "1969-12-31T23:59:59Z",
        "2026-01-02",
        "٣",
        "0001-01-01T00:00+23:59",
    ],
)
def test_what_is_no_instant_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected Unix milliseconds") as fault:
        time_ms(text)
    assert f'found "{text}"' in str(fault.value)


@given(st.integers(0, TIME_MS_MAX))
def test_what_is_written_reads_back(instant_ms: int) -> None:
    assert time_ms(iso(instant_ms)) == instant_ms
    assert len(iso(instant_ms)) == 24
