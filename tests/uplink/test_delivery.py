"""The delivery core over links that refuse, end and lie, without a network."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.model import NAN, Group, Reading
from agent.store import Store
from agent.store.backup import back_up
from agent.supervise import Episode
from agent.uplink.delivery import Delivery
from agent.uplink.options import DeliveryOptions
from agent.uplink.pace import Limits, Rate
from agent.uplink.patience import Patience
from agent.uplink.thingsboard import ThingsBoardFormat
from tests.conftest import group_of, until
from tests.uplink.wire import Centre

A, B = group_of("a"), group_of("b")
HASTY = Patience(after_loss_s=0.01, held_first_s=0.05)
EPISODE = Episode(logging.getLogger(__name__), "test")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "readings.db") as store:
        yield store


def delivery_of(
    store: Store,
    *,
    limits: Callable[[], Limits] = Limits,
    rand: float = 0.0,
    patience: Patience = HASTY,
    form: ThingsBoardFormat | None = None,
    **more: object,
) -> Delivery:
    options = DeliveryOptions.model_validate({"name": "center", "host": "localhost", "linger_ms": 0} | more)
    form = form or ThingsBoardFormat(60_000)
    return Delivery(options, form, store, EPISODE, limits=limits, rand=lambda: rand, patience=patience)


def fill(store: Store, count: int, start: int = 0, groups: tuple[Group, ...] = (A, B)) -> None:
    store.append(
        [Reading(group, at, (float(at), 0.5)) for at in range(start, start + count) for group in groups]
    )


def waiting(store: Store) -> int:
    return store.outbox.progress("center").waiting(store.last_seq)


def all_of(count: int, devices: str = "ab") -> set[tuple[str, int]]:
    return {(device, at) for device in devices for at in range(count)}


async def test_new_readings_go_before_what_waited_and_all_of_it_goes(store: Store) -> None:
    fill(store, 5000)
    centre = Centre(delay_s=0.01)
    delivery = delivery_of(store, batch_readings_max=500)
    async with centre.linked(delivery, EPISODE):
        await until(lambda: delivery.drain.per_s > 0)
        fill(store, 1, 90_000)
        await until(lambda: ("a", 90_000) in centre.taken)
        assert waiting(store) > 5000  # the backlog still stands, but for some of it
        assert 0 < (delivery.drain.eta_s(waiting(store)) or 0) < 60
        await until(lambda: waiting(store) == 0)
    assert len(centre.taken) == len(set(centre.taken))
    assert set(centre.taken) == all_of(5000) | {("a", 90_000), ("b", 90_000)}


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_the_backlog_goes_from_the_chosen_end(store: Store, order: str) -> None:
    fill(store, 3000)
    centre = Centre()
    async with centre.linked(delivery_of(store, backlog=order, batch_readings_max=500), EPISODE):
        await until(lambda: waiting(store) == 0)
    times = [at for device, at in centre.taken if device == "a"]
    assert sorted(times) == list(range(3000))
    assert times[0] < 500 if order == "oldest" else times[0] > 2500


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_what_was_discarded_is_passed_over(store: Store, order: str) -> None:
    fill(store, 4000)
    await store.commit()
    await store._disk._db.execute("DELETE FROM reading WHERE seq <= 3000")
    await store._disk._db.commit()
    store._tail.forget(4000)
    centre = Centre()
    async with centre.linked(delivery_of(store, backlog=order, batch_readings_max=100), EPISODE):
        await until(lambda: waiting(store) == 0)
    assert sorted(at for device, at in centre.taken if device == "a") == list(range(1500, 4000))


async def test_the_backlog_of_a_fleet_starts_at_random(store: Store) -> None:
    fill(store, 3000)
    centre = Centre()
    async with centre.linked(delivery_of(store, rand=0.5, backlog_delay_s_max=1.0), EPISODE):
        await asyncio.sleep(0.05)
        fill(store, 1, 3000)
        await until(lambda: ("a", 3000) in centre.taken)
        await asyncio.sleep(0.3)
        assert len(centre.taken) == 2
        await until(lambda: waiting(store) == 0)
    assert set(centre.taken) == all_of(3001)
    assert len(centre.taken) == 6002


async def test_the_pace_holds_for_all_and_new_readings_go_first(store: Store) -> None:
    fill(store, 3000, groups=(A,))
    centre = Centre()
    granted = Limits(messages=(Rate(25, 1.0),), values=(Rate(2500, 1.0),))  # of which 80 %
    delivery = delivery_of(store, limits=lambda: granted, batch_readings_max=100)
    async with centre.linked(delivery, EPISODE):
        await asyncio.sleep(0.5)
        before = len(centre.taken)
        assert 900 <= before <= 1600  # a bucket of 2000 values, and half a second of its refill
        began = asyncio.get_running_loop().time()
        fill(store, 1, 9000, groups=(A,))
        await until(lambda: ("a", 9000) in centre.taken)
        assert asyncio.get_running_loop().time() - began < 0.5


async def test_a_refusal_for_a_limit_slows_down_instead_of_holding_devices(store: Store) -> None:
    centre = Centre(lambda topic, message: "")
    delivery = delivery_of(store)
    async with centre.linked(delivery, EPISODE):
        fill(store, 50)
        await until(lambda: waiting(store) == 0)
        assert delivery.pace.learned_per_s == float("inf")
        delivery._lost(ConnectionError("connection lost after a refusal (Quota exceeded): closed"))
        assert delivery.pace.learned_per_s < float("inf")
        assert len(delivery.holds) == 0


def poisoned(at: int, answer: str | None) -> Callable[[str, dict], str | None]:
    """A judge that cannot stand the reading of "b" at `at`."""

    def judge(topic: str, message: dict) -> str | None:
        return answer if any(entry["ts"] == at for entry in message.get("b", ())) else ""

    return judge


@pytest.mark.parametrize("answer", ["Payload format invalid", None], ids=["refused", "the link ends"])
@pytest.mark.parametrize("at", [0, 37, 99])
async def test_a_poisonous_reading_is_found_and_kept_aside(store: Store, answer: str | None, at: int) -> None:
    centre = Centre(poisoned(at, answer))
    delivery = delivery_of(store)
    async with centre.linked(delivery, EPISODE):
        fill(store, 100)
        await asyncio.sleep(0.05)
        fill(store, 10, 100)
        await until(lambda: not delivery.holds and waiting(store) == 0)
        links = len(centre.links)
        fill(store, 10, 110)
        await until(lambda: waiting(store) == 0)
        assert len(centre.links) == links  # it is over
    assert set(centre.taken) == all_of(120) - {("b", at)}
    assert store.outbox.rejected("center") == 1
    await store.commit()
    rows = list(await store._disk._db.execute_fetchall("SELECT device, time_ms, reason FROM rejected"))
    assert [tuple(row)[:2] for row in rows] == [("b", at)]


@pytest.mark.parametrize("answer", ["Payload format invalid", None], ids=["refused", "the link ends"])
@pytest.mark.parametrize("at", [0, 37, 99])
async def test_poison_is_found_although_the_device_is_quiet(
    store: Store, answer: str | None, at: int
) -> None:
    """It is judged by what is in the log."""
    centre = Centre(poisoned(at, answer))
    delivery = delivery_of(store, rand=0.5)
    async with centre.linked(delivery, EPISODE):
        fill(store, 100)
        await until(lambda: waiting(store) == 0 and not delivery.holds and len(centre.taken) > 190)
    assert set(centre.taken) == all_of(100) - {("b", at)}
    assert store.outbox.rejected("center") == 1


async def test_an_empty_reading_proves_nothing(store: Store) -> None:
    """The only readings of a device with a value are refused: that may be the device."""
    centre = Centre(lambda topic, message: "Payload format invalid" if "b" in message else "")
    delivery = delivery_of(store)
    async with centre.linked(delivery, EPISODE):
        fill(store, 1)
        store.append([Reading(B, at, (NAN, NAN)) for at in range(5, 50)])
        await until(lambda: delivery.holds)
        await asyncio.sleep(1.0)
    assert store.outbox.rejected("center") == 0
    assert len(delivery.holds) == 1


async def test_a_refused_device_is_never_taken_for_poison(store: Store) -> None:
    centre = Centre(lambda topic, message: "Payload format invalid" if "b" in message else "")
    delivery = delivery_of(store)
    async with centre.linked(delivery, EPISODE):
        for at in range(20):
            fill(store, 5, at * 5)
            await asyncio.sleep(0.03)
        assert len(delivery.holds) == 1
        assert store.outbox.rejected("center") == 0
        centre.judge = lambda topic, message: ""
        for at in range(20, 200):
            fill(store, 5, at * 5)
            await asyncio.sleep(0.02)
            if not delivery.holds:
                break
        await until(lambda: waiting(store) == 0)
    assert set(centre.taken) == all_of((at + 1) * 5)


async def test_what_3_1_1_acknowledged_just_before_it_closed_goes_again(store: Store) -> None:
    centre = Centre()
    delivery = delivery_of(store)
    async with centre.linked(delivery, EPISODE, sure=False):
        fill(store, 10)
        await until(lambda: len(centre.taken) == 20)
        assert delivery.readings == 0  # not believed yet
        centre.links[-1].gone.set_result(None)
        await until(lambda: len(centre.taken) == 40)
    assert set(centre.taken) == all_of(10)


async def after_a_kill(store: Store, folder: Path) -> tuple[int, int]:
    """What a copy of the file says: how many readings wait, and how many the ledger takes for delivered."""
    await store.commit()
    back_up(store.file, copy := folder / f"{time.monotonic_ns()}.db")
    async with Store(copy) as found:
        rows = await found.ledger.rows(0, 1 << 50)
        held = [found.outbox.progress(name).waiting(found.last_seq) for name in found.outbox.under("center/")]
        return waiting(found) + sum(held), sum(row.delivered.get("center", 0) for row in rows)


async def test_what_3_1_1_acknowledged_just_before_a_kill_goes_again(store: Store, tmp_path: Path) -> None:
    centre = Centre()
    delivery = delivery_of(store)
    async with centre.linked(delivery, EPISODE, sure=False):
        fill(store, 10)
        await until(lambda: len(centre.taken) == 20 and waiting(store) == 0)
        assert await after_a_kill(store, tmp_path) == (20, 0)
        await until(lambda: delivery.readings == 20)  # the link has outlived it
        assert await after_a_kill(store, tmp_path) == (0, 20)
    assert len(centre.taken) == 20


async def test_what_3_1_1_took_of_a_held_device_is_doubted_too(store: Store, tmp_path: Path) -> None:
    refused = True
    centre = Centre(lambda topic, message: "no" if refused and "b" in message else "")
    delivery = delivery_of(store)
    async with centre.linked(delivery, EPISODE, sure=False):
        fill(store, 2)
        await until(lambda: "b" in delivery.holds and delivery.readings == 2)
        refused = False
        await until(lambda: len(set(centre.taken)) == 4)
        assert delivery.readings == 2
        left, delivered = await after_a_kill(store, tmp_path)
        assert left > 0  # whatever span it was that has them
        assert delivered == 2
        await until(lambda: not delivery.holds)
        assert await after_a_kill(store, tmp_path) == (0, 4)
    assert len(set(centre.taken)) == 4


async def test_a_quiet_device_is_introduced_again_before_the_centre_forgets_it(store: Store) -> None:
    patience = Patience(greetings_check_s=0.05, rest_s=0.05)
    form = ThingsBoardFormat(60_000, expires_s=0.3)
    seen: list[str] = []

    def judge(topic: str, message: dict) -> str:
        if topic == "v1/gateway/connect":
            seen.append(message["device"])
        return ""

    centre = Centre(judge)
    async with centre.linked(delivery_of(store, patience=patience, form=form), EPISODE):
        fill(store, 1)
        await until(lambda: len(seen) == 2)
        for at in range(1, 10):
            fill(store, 1, at, groups=(A,))
            await asyncio.sleep(0.05)
        await until(lambda: len(seen) >= 3)
    assert seen[2] == "b"
