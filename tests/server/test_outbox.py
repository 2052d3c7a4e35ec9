from __future__ import annotations

import asyncio

from agent.server.outbox import TOO_SLOW, Outbox

KB_64 = 65536


async def test_a_full_backlog_ends_the_client_and_drops_what_it_held() -> None:
    outbox = Outbox(KB_64)
    outbox.put(b"x" * 100_000)  # a lone message always fits
    assert not outbox.ended.done()
    outbox.put(b"x")
    assert outbox.ended.result()[0] == TOO_SLOW
    outbox.put(b"y")
    outbox.end(1001, "late")
    assert outbox.ended.result()[0] == TOO_SLOW
    assert not outbox._messages


async def test_what_is_offered_waits_for_all_that_is_put() -> None:
    outbox = Outbox(KB_64)
    await outbox.offer(b"past 1")
    second = asyncio.create_task(outbox.offer(b"past 2"))
    await asyncio.sleep(0)
    assert not second.done()
    outbox.put(b"live 1")
    outbox.put(b"live 2")
    assert [await outbox.take() for _ in range(3)] == [b"live 1", b"live 2", b"past 1"]
    await second
    outbox.put(b"live 3")
    assert [await outbox.take() for _ in range(2)] == [b"live 3", b"past 2"]


async def test_the_end_frees_who_waits_to_offer() -> None:
    outbox = Outbox(KB_64)
    await outbox.offer(b"past 1")
    second = asyncio.create_task(outbox.offer(b"past 2"))
    await asyncio.sleep(0)
    outbox.end(1000, "")
    await asyncio.wait_for(second, 1)
