"""What is refused often: what is noted of it, and what is alarmed as an attack."""

from __future__ import annotations

from agent.server.audit import Query
from agent.server.audit.watch import REFUSALS_ALARM, SINGLY_MAX
from tests.server.conftest import Site


async def test_typing_errors_are_no_attack_and_what_is_not_allowed_is(site: Site) -> None:
    headers = await site.bearer()
    for _ in range(2 * REFUSALS_ALARM):
        async with site.http.get("/api/v1/export.csv?points=x&from=yesterday", headers=headers) as reply:
            assert reply.status == 400
    assert await site.audited("invalid_time")
    assert site.alarms == []
    for _ in range(REFUSALS_ALARM):
        async with site.http.get("/api/v1/users", headers=headers) as reply:
            assert reply.status == 403
    assert site.alarms == ["server.refusals"]


async def test_many_addresses_are_many_refusals(site: Site) -> None:
    watch = site.server.office.watch
    for at in range(5000):
        watch.refused("login.refused", peer=f"10.0.{at // 256}.{at % 256}")
    assert len(watch._windows) <= 257
    await site.server.audit.settled()
    pages = [page async for page in site.server.audit.all(Query(kind="login.refused"))]
    assert sum(len(page) for page in pages) == 256 + SINGLY_MAX
    site.monotonic.now_s += 60
    await site.server.office.tick()
    (entry, *_) = await site.audited("login.refused")
    assert entry.peer == "many"
    assert entry.what["more"] == 5000 - 256 - SINGLY_MAX
    assert site.alarms == ["server.refusals"]
    assert REFUSALS_ALARM < 5000
    assert SINGLY_MAX < REFUSALS_ALARM
