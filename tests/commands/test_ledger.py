from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.commands import ledger
from agent.model import Reading
from agent.store import Store
from tests.conftest import group_of

HOUR_MS = 3_600_000
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
ZONE = ZoneInfo("America/Sao_Paulo")


async def kept(folder: Path) -> Path:
    """A configuration whose log has two devices over two days, not all of it delivered."""
    token = folder / "center.token"
    token.touch(mode=0o600)
    token.write_text("T0KEN\n")
    file = folder / "config.toml"
    file.write_text(
        '[agent]\nsite = "lab"\n[[uplink]]\nname = "center"\nkind = "thingsboard"\nhost = "localhost"\n'
        'token_file = "center.token"\n'
    )
    start_ms = round(NOON.timestamp() * 1000)
    async with Store(folder / "data" / "readings.db") as store:
        for device, count in (("a", 5), ("b", 3)):
            group = group_of(device)
            readings = [Reading(group, start_ms + at * 12 * HOUR_MS, (1.0, 2.0)) for at in range(count)]
            store.append(readings)
            store.ledger.delivered("center", readings[:2])
            store.ledger.rejected("center", readings[2:3])
    return file


def parsed(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    ledger.add_to(parser.add_subparsers())
    return parser.parse_args(["ledger", *map(str, words)])


async def test_the_table_sums_up_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = await kept(tmp_path)
    assert ledger.show(parsed(file, "--from", "2026-03-10", "--to", "2026-03-13")) == 0
    text = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert text[1] == ["2026-03-10", "a", "2", "2", "0", "0", "0", "0"]
    assert text[2] == ["2026-03-10", "b", "2", "2", "0", "0", "0", "0"]
    assert text[3] == ["2026-03-11", "a", "2", "0", "1", "1", "0", "0"]
    assert text[-1] == ["all", "8", "4", "2", "2", "0", "0"]


async def test_json_by_hour_of_one_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = await kept(tmp_path)
    ledger.show(
        parsed(file, "--from", "2026-03-01", "--to", "2026-03-20", "--by", "hour", "--json", "--device", "b")
    )
    found = json.loads(capsys.readouterr().out)
    assert [line["period"] for line in found] == ["2026-03-10 09:00", "2026-03-10 21:00", "2026-03-11 09:00"]
    assert found[0] == {
        "period": "2026-03-10 09:00", "device": "b", "acquired": 1, "delivered": {"center": 1},
        "waiting": {"center": 0}, "rejected": {"center": 0}, "discarded_sent": 0, "discarded_unsent": 0,
    }  # fmt: skip


async def test_nothing_is_said_and_nonsense_has_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = await kept(tmp_path)
    ledger.show(parsed(file, "--from", "2020-01-01", "--to", "2020-01-02"))
    assert capsys.readouterr().out == "nothing in this period\n"
    with pytest.raises(OSError, match="--from: expected a time like"):
        ledger.show(parsed(file, "--from", "yesterday"))
    with pytest.raises(OSError, match="before --to"):
        ledger.show(parsed(file, "--from", "2026-03-02", "--to", "2026-03-01"))
    (tmp_path / "data" / "readings.db").unlink()
    with pytest.raises(OSError, match="has the agent run"):
        ledger.show(parsed(file))


def test_without_a_period_it_is_the_last_days() -> None:
    now = datetime(2026, 3, 10, 15, 30, tzinfo=ZONE)
    from_ms, to_ms = ledger.period_ms(None, None, now)
    assert datetime.fromtimestamp(from_ms / 1000, ZONE) == datetime(2026, 3, 4, tzinfo=ZONE)
    assert to_ms > now.timestamp() * 1000
