import asyncio
import logging

import pytest

from agent.supervise import Backoff, Episode, describe, supervise, to_its_end

log = logging.getLogger("test")


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sleeps: list[float] = []

    async def sleep(self, wait_s: float) -> None:
        self.sleeps.append(wait_s)
        self.now_s += wait_s
        if len(self.sleeps) == 6:
            raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("failures", "expected"), [(1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 10.0), (1000, 10.0)]
)
def test_back_off_doubles_up_to_its_limit(failures: int, expected: float) -> None:
    assert Backoff().wait_s(failures, rand=lambda: 1.0) == expected
    assert Backoff().wait_s(failures, rand=lambda: 0.0) == expected / 2


async def test_an_os_error_restarts_and_a_bug_does_not(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()

    async def unplugged() -> None:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(asyncio.CancelledError):
        await supervise(unplugged, Episode(log, "line"), sleep=clock.sleep)
    assert clock.sleeps == sorted(clock.sleeps, key=lambda s: s > 5)  # grows

    async def bug() -> None:
        raise KeyError("not an outage")

    with pytest.raises(KeyError):
        await supervise(bug, Episode(log, "line"), sleep=clock.sleep)


async def test_a_task_group_of_os_errors_is_an_outage_too() -> None:
    clock = Clock()

    async def unplugged() -> None:
        raise ExceptionGroup("tasks", [TimeoutError(), OSError("reset")])

    with pytest.raises(asyncio.CancelledError):
        await supervise(unplugged, Episode(log, "line"), sleep=clock.sleep)


async def test_a_run_that_was_well_forgives_earlier_failures() -> None:
    clock = Clock()
    episode = Episode(log, "line")
    runs = 0

    async def mostly_well() -> None:
        nonlocal runs
        runs += 1
        if runs == 4:
            episode.ended()
        raise OSError("gone")

    with pytest.raises(asyncio.CancelledError):
        await supervise(mostly_well, episode, Backoff(1, 100), sleep=clock.sleep)
    first, _, third, after = clock.sleeps[:4]
    assert third > first >= 0.5
    assert after <= 1.0


async def test_work_that_must_be_whole_ends_before_a_cancellation() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        await asyncio.sleep(0.05)
        steps.append("done")

    task = asyncio.create_task(to_its_end(work()))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["begun", "done"]

    async def failing() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await to_its_end(failing())


async def test_work_that_fails_while_it_is_cancelled_does_not_swallow_the_cancellation() -> None:
    handled: list[str] = []

    async def failing() -> None:
        await asyncio.sleep(0.02)
        raise OSError("no")

    async def for_ever() -> None:
        while True:
            try:
                await to_its_end(failing())
            except OSError as error:
                handled.append(str(error))
            await asyncio.sleep(0)

    task = asyncio.create_task(for_ever())
    await asyncio.sleep(0.01)
    task.cancel()
    done, _ = await asyncio.wait((task,), timeout=5)
    assert done
    assert task.cancelled()
    assert handled == ["no"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await for_ever()


def test_an_episode_warns_once_and_tells_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    episode = Episode(log, "device m1")
    episode.ended()
    for _ in range(3):
        episode.failed("no answer")
    episode.ended()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "device m1: no answer"),
        ("DEBUG", "device m1: no answer"),
        ("DEBUG", "device m1: no answer"),
        ("INFO", "device m1: well again after 3 failures"),
    ]


def test_a_timeout_has_words() -> None:
    assert describe(TimeoutError()) == "TimeoutError"
    assert describe(ExceptionGroup("x", [OSError("a"), OSError("b")])) == "a; b"
