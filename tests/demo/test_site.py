"""The demo site: its meters agree with each other and its room obeys Modbus writes."""

import asyncio
from random import Random

import pytest
from pymodbus.client import AsyncModbusTcpClient

from agent.control.plant import State
from agent.demo.ambient import AmbientModule
from agent.demo.modbus_line import SimulatedLine
from agent.demo.site import Site, run_site

from .listening import free_udp_port

NOON = 1_760_022_000.0 + 1.0  # 2025-10-09, 12:00:01 in Brasília
PHASES = ("l1", "l2", "l3")


def site_at(time_s: float = NOON) -> Site:
    return Site(time_s=time_s, random=Random(7))


def test_time_of_day_is_local() -> None:
    assert site_at().day_s == 12 * 3600 + 1


def test_meter_shows_a_brazilian_office() -> None:
    site = site_at()
    for _ in range(600):
        site.step(1.0)
    for meter in (site.main_meter, site.hvac_meter):
        for phase in PHASES:
            assert 120 < meter.get(f"voltage_{phase}") < 130
            power_w, apparent_va = (meter.get(f"{kind}_power_{phase}") for kind in ("active", "apparent"))
            current_va = meter.get(f"voltage_{phase}") * meter.get(f"current_{phase}")
            assert current_va == pytest.approx(apparent_va, abs=0.2)
            assert power_w <= apparent_va + 0.1
        assert meter.get("active_power") == pytest.approx(
            sum(meter.get(f"active_power_{phase}") for phase in PHASES), abs=0.05
        )
        assert 59.8 < meter.get("frequency") < 60.2
    assert site.main_meter.get("active_power") > site.hvac_meter.get("active_power") > 30


def test_energies_only_grow_and_are_the_integral_of_the_power() -> None:
    site = site_at()
    meters = (site.main_meter, site.hvac_meter)
    before_kwh = [meter.get("energy_import") for meter in meters]
    last_kwh, integral_kwh = list(before_kwh), [0.0, 0.0]
    for _ in range(1800):
        site.step(2.0)
        for index, meter in enumerate(meters):
            integral_kwh[index] += meter.get("active_power") * 2.0 / 3600 / 1000
            assert meter.get("energy_import") >= last_kwh[index]
            last_kwh[index] = meter.get("energy_import")
    for before, last, integral in zip(before_kwh, last_kwh, integral_kwh, strict=True):
        assert last - before == pytest.approx(integral, abs=0.002)
        assert integral > 0.01


def test_same_seed_same_site() -> None:
    one, other = site_at(), site_at()
    for _ in range(50):
        one.step(1.0)
        other.step(1.0)
    assert one.state == other.state
    assert [one.main_meter.get(point) for point in one.main_meter.points] == [
        other.main_meter.get(point) for point in other.main_meter.points
    ]


async def test_room_cools_when_switched_on_over_modbus() -> None:
    site = site_at()
    site.state = State(air_c=30.0, walls_c=29.0)
    async with SimulatedLine(site.ac) as line:
        client = AsyncModbusTcpClient(line.host, port=line.port, retries=0, reconnect_delay=0)
        assert await client.connect()
        await client.write_register(0, 0)
        for _ in range(60):
            site.step(10)
        off_c, off_w = (await client.read_holding_registers(5, count=1)).registers[0] / 10, _ac_w(site)
        await client.write_register(4, 210)
        await client.write_register(1, 4)
        await client.write_register(0, 1)
        for _ in range(120):
            site.step(10)
        on_c, on_w = (await client.read_holding_registers(5, count=1)).registers[0] / 10, _ac_w(site)
        assert (await client.write_register(4, 350)).exception_code == 3
        assert (await client.write_register(1, 7)).exception_code == 3
        client.close()
    assert off_c > 29
    assert on_c < off_c - 3
    assert on_c == pytest.approx(site.state.air_c, abs=0.06)
    assert (off_w, on_w > 300) == (3.0, True)


def _ac_w(site: Site) -> float:
    return site.hvac_meter.get("active_power")


async def test_runs_and_tells_its_ambient_modules() -> None:
    site, port, sent = site_at(), free_udp_port(), []  # what was sent, not what arrived

    class Heard(AmbientModule):
        def send(self, values: object, ts: int | None = None) -> None:
            sent.append((values, ts))

    with Heard("room-101", port=port) as module:
        task = asyncio.create_task(
            run_site(site, [module], interval_s=0.02, speed=3600, now_s=lambda: 1_760_000_000.5)
        )
        await asyncio.sleep(0.3)
        task.cancel()
    assert site.time_s - NOON > 3600 * 0.05
    assert len(sent) >= 3
    values, ts = sent[-1]
    assert ts == 1_760_000_000_500
    assert set(values) == {"temperature", "humidity", "co2", "battery"}
