"""The jobs, as people see them."""

from __future__ import annotations

from playwright.async_api import expect

from agent.server import Role
from tests.page.conftest import Office, Visitor


async def test_run_now_shows_progress_result_and_history(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-jobs").click()
    job = page.locator('[data-job="night-copy"]')
    await expect(job).to_contain_text("has not run yet")
    await job.get_by_role("button", name="Run now: night-copy").click()
    await expect(job).to_have_attribute("data-state", "running")
    await expect(job.get_by_role("button", name="Run now: night-copy")).to_be_disabled()
    await job.get_by_role("button", name="History: night-copy").click()
    await expect(page.locator("#job-runs tr")).to_contain_text("running")
    office.go.set()
    await expect(job).to_have_attribute("data-state", "well")
    await expect(job).to_contain_text("two files")
    await expect(page.locator("#job-runs tr")).to_contain_text("two files")


async def test_pause_and_the_other_language(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-jobs").click()
    job = page.locator('[data-job="night-copy"]')
    await job.get_by_role("button", name="Pause: night-copy").click()
    await expect(job).to_have_attribute("data-state", "paused")
    await page.locator("#language").select_option("pt-BR")
    await expect(job).to_contain_text("pausada")
    await job.get_by_role("button", name="Retomar: night-copy").click()
    await expect(job).to_contain_text("ainda não rodou")


async def test_a_viewer_only_looks(office: Office, visitor: Visitor) -> None:
    await office.user("bia", Role.VIEWER)
    page = await visitor.entered("bia")
    await page.locator("#tab-jobs").click()
    await expect(page.locator('[data-job="night-copy"] button')).to_have_text(["History"])
