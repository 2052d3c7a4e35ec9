"""Reports on the page: asked for, made by a real process from a real store, opened in a window of its own."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from playwright.async_api import expect

from agent.server import Role
from tests.page.conftest import Office, Visitor
from tests.reports.places import fill, ms, site

MADE_MS = 60_000


async def stored(folder: Path) -> None:
    """Two days of readings and the configuration of their site."""
    site(folder)
    await fill(folder / "data" / "readings.db", ms(2026, 11, 16), ms(2026, 11, 18))


async def test_a_report_is_asked_for_made_opened_and_kept(
    office: Office, visitor: Visitor, tmp_path: Path
) -> None:
    await stored(tmp_path)
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-reports").click()
    await expect(page.locator("#report-nothing")).to_be_visible()
    await page.locator("#report-kind").select_option("commissioning")
    await expect(page.locator("#report-meter-ask")).to_be_hidden()
    await page.locator("#report-language").select_option("en")
    await page.locator("#report-go").click()
    await expect(page.locator("#report-making li")).to_have_attribute("data-state", "made", timeout=MADE_MS)
    row = page.locator("#report-list tr")
    await expect(row).to_contain_text("Commissioning record")
    async with page.expect_popup() as opening:
        await row.get_by_role("button", name="Open").click()
    report = await opening.value
    await expect(report.locator("h1")).to_have_text("Commissioning record")
    assert await report.evaluate("self.origin") == "null"  # sandboxed
    async with page.expect_download() as loading:
        await row.get_by_role("button", name="CSV").click()
    kept = await (await loading.value).path()
    assert b"main-meter" in await asyncio.to_thread(kept.read_bytes)


async def test_what_cannot_be_made_says_why(office: Office, visitor: Visitor, tmp_path: Path) -> None:
    await stored(tmp_path)
    await office.user()
    page = await visitor.entered(language="pt-BR")
    await page.locator("#tab-reports").click()
    await page.locator("#report-meter").select_option("meter")  # known to the page, not to the stored site
    await page.locator("#report-go").click()
    line = page.locator("#report-making li")
    await expect(line).to_have_attribute("data-state", "failed", timeout=MADE_MS)
    await expect(line).to_contain_text("no meter is named 'meter'")


async def test_a_viewer_opens_and_may_not_make(office: Office, visitor: Visitor) -> None:
    await office.user("bia", Role.VIEWER)
    page = await visitor.entered("bia")
    await page.locator("#tab-reports").click()
    await expect(page.locator("#report-go")).to_be_disabled()
    await expect(page.locator("#report-may")).to_contain_text("not have them made")


async def test_periods_are_offered_in_the_language_of_the_page(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered(language="pt-BR")
    await page.locator("#tab-reports").click()
    week = page.locator("#report-week option").nth(2)
    await expect(week).to_have_text(re.compile(r"^\d\d/\d\d/\d{4} – \d\d/\d\d/\d{4}$"))
    value = str(await week.get_attribute("value"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d{4}-\d\d-\d\d", value)
    await page.locator("#report-week").select_option(value)
    await page.locator("#report-kind").select_option("energy")
    month = page.locator("#report-month option").first
    await expect(month).to_have_text(re.compile(r"^[a-zç]+ de \d{4}$"))
    await page.locator("#language").select_option("en")
    await expect(month).to_have_text(re.compile(r"^[A-Z][a-z]+ \d{4}$"))
    assert await page.locator("#report-week").input_value() == value
