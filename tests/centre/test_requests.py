"""Requests that a command leaves for the running agent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.centre import requests
from agent.centre.requests import Request, leave, serve, waiting

ONE = Request(uplink="center", device="main-meter", from_ms=1, to_ms=5)


class Enough(Exception):  # noqa: N818 - ends a loop that has no end
    pass


async def enough(_: float) -> None:
    raise Enough


async def test_what_was_left_is_done_once_and_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "requeue"
    assert waiting(folder) == []
    leave(folder, ONE)
    leave(folder, ONE.model_copy(update={"from_ms": 2}))
    done: list[tuple[str, str, int, int]] = []

    async def requeue(*what: object) -> int:
        done.append(what)  # type: ignore[arg-type]
        return 1

    for _ in range(2):
        with pytest.raises(Enough):
            await serve(folder, requeue, ["center"], sleep=enough)
    assert sorted(done) == [("center", "main-meter", 1, 5), ("center", "main-meter", 2, 5)]
    assert list(folder.iterdir()) == []


async def test_killed_while_doing_it_is_done_again(tmp_path: Path) -> None:
    leave(tmp_path, ONE)

    async def killed(*_: object) -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await serve(tmp_path, killed, ["center"])
    assert [request for _, request in waiting(tmp_path)] == [ONE]


async def test_of_an_uplink_that_is_gone_nothing_is_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave(tmp_path, ONE)

    async def never(*_: object) -> int:
        raise AssertionError

    with pytest.raises(Enough):
        await serve(tmp_path, never, ["another"], sleep=enough)
    assert waiting(tmp_path) == []
    assert "uplink center is not in the configuration, removed" in caplog.text


def test_what_is_no_request_is_removed_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"uplink": "x", "device": "d", "from_ms": -1, "to_ms": 2}')
    (tmp_path / "c.json").write_text(" " * (requests.FILE_BYTES_MAX + 1))
    (tmp_path / "d.part").write_text("half")
    assert waiting(tmp_path) == []
    assert [file.name for file in tmp_path.iterdir()] == ["d.part"]
    assert caplog.text.count("not a request, removed") == 3


def test_too_many_are_refused(tmp_path: Path) -> None:
    for at in range(requests.PENDING_MAX):
        (tmp_path / f"{at}.json").touch()
    with pytest.raises(OSError, match="10000 requests wait already"):
        leave(tmp_path, ONE)
