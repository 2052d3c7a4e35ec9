"""The list of alarms as it comes and goes."""

from __future__ import annotations

from playwright.async_api import expect

from agent.server import Role
from tests.page.conftest import Office, Visitor


async def test_an_alarm_comes_is_counted_and_goes(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await expect(page.locator("#alarm-count")).to_be_hidden()
    await page.locator("#tab-alarms").click()
    await expect(page.locator("#alarm-nothing")).to_have_text("No alarms.")
    office.bell.ring("line-bus", "returned", priority="medium", count=3)
    office.bell.ring("voltage-high")
    await expect(page.locator("#alarm-count")).to_have_text("2")
    lines = page.locator("#alarm-list li")
    await expect(lines).to_have_count(2)
    await expect(lines.first).to_have_attribute("data-alarm", "voltage-high")  # the most urgent first
    await expect(lines.last).to_contain_text("3 times")
    office.bell.ring("voltage-high", "normal")
    office.bell.ring("line-bus", "normal")
    await expect(page.locator("#alarm-nothing")).to_be_visible()
    await expect(page.locator("#alarm-count")).to_be_hidden()


async def test_an_alarm_is_acknowledged_by_its_name(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-alarms").click()
    office.bell.ring("line.bus/1 %2f")  # whatever is in a name
    await page.get_by_role("button", name="Acknowledge: Voltage high").click()
    line = page.locator("#alarm-list li")
    await expect(line).to_contain_text("active, acknowledged")
    await expect(line).to_contain_text("acknowledged by")
    await expect(line.get_by_role("button")).to_have_count(0)
    await expect(page.locator("#alarm-count")).to_be_hidden()
    assert office.bell.active()[0]["acknowledged_by"].endswith("ana")
    office.bell.ring("gone", text={"en": "Gone", "pt-BR": "Foi"})
    office.bell.forget("gone")
    await page.get_by_role("button", name="Acknowledge: Gone").click()
    await expect(page.locator("#alarm-fault")).to_contain_text("there is no such alarm now")
    assert visitor.complaints.pop().startswith("Failed to load resource")


async def test_a_viewer_cannot_acknowledge(office: Office, visitor: Visitor) -> None:
    await office.user("bia", Role.VIEWER)
    page = await visitor.entered("bia")
    await page.locator("#tab-alarms").click()
    office.bell.ring("voltage-high")
    await expect(page.locator("#alarm-list li")).to_have_count(1)
    await expect(page.locator("#alarm-list button")).to_have_count(0)


async def test_what_a_device_says_is_text_and_never_markup(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-alarms").click()
    evil = "<img src=x onerror=alert(1)>"
    office.bell.ring("evil", detail=evil, source=evil, text={"en": evil, "pt-BR": evil})
    await expect(page.locator("#alarm-list h2")).to_have_text(evil)
    await expect(page.locator("#alarm-list img")).to_have_count(0)
