"""The list of alarms as it comes and goes."""

from __future__ import annotations

from playwright.async_api import expect

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


async def test_what_a_device_says_is_text_and_never_markup(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-alarms").click()
    evil = "<img src=x onerror=alert(1)>"
    office.bell.ring("evil", detail=evil, source=evil, text={"en": evil, "pt-BR": evil})
    await expect(page.locator("#alarm-list h2")).to_have_text(evil)
    await expect(page.locator("#alarm-list img")).to_have_count(0)
