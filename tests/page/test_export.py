"""The CSV form: what was chosen is what is in the file."""

from __future__ import annotations

import asyncio
import csv
import gzip
import re
from datetime import datetime, timedelta
from pathlib import Path

from playwright.async_api import Page, expect

from tests.page.conftest import PAST_S, Office, Visitor


async def saved(page: Page) -> Path:
    async with page.expect_download() as coming:
        await page.get_by_role("button", name="Download CSV").click()
    download = await coming.value
    await expect(page.locator("#download-state")).to_contain_text("Done")
    assert download.suggested_filename.startswith("uicps_")
    return Path(await download.path())


async def only_the_power(page: Page) -> None:
    """Choose one point of the meter and nothing else."""
    for device in ("Main board", "Room 101"):
        card = page.locator("#choice details", has_text=device)
        await card.locator("summary").click()
        await card.get_by_label("All").uncheck()
    await page.locator("#choice").get_by_label("power_total").check()


async def test_the_file_holds_what_was_chosen(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-export").click()
    await only_the_power(page)
    await page.get_by_label("Table").select_option("long")
    await page.get_by_label("Times in the file").select_option("UTC")
    await expect(page.locator("#download-size")).to_have_text(
        re.compile(r"^About [\d,]+ rows, [\d.]+ [kM]B\.$")
    )
    file = await saved(page)
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert {(row["device"], row["point"], row["unit"]) for row in rows} == {("meter", "power_total", "W")}
    times = [int(row["time_ms"]) for row in rows]
    assert len(times) == len(set(times))
    assert len(times) > PAST_S - 5
    assert all(float(row["value"]) == office.powers[int(row["time_ms"])] for row in rows)


async def test_a_table_for_a_brazilian_spreadsheet(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-export").click()
    await expect(page.get_by_label("Of each interval")).to_be_hidden()
    await page.get_by_label("Interval", exact=True).select_option("60")
    await page.get_by_label("Of each interval").select_option("max")
    await page.get_by_label("Table").select_option("wide")
    await page.get_by_label("Numbers").select_option("comma")
    await page.get_by_label("Times in the file").select_option("America/Sao_Paulo")
    file = await saved(page)
    with file.open(encoding="utf-8-sig", newline="") as text:
        head, *rows = list(csv.reader(text, delimiter=";"))
    column = next(at for at, name in enumerate(head) if "power_total" in name)
    assert "W" in head[column]
    assert PAST_S / 60 <= len(rows) <= PAST_S / 60 + 2
    assert all(re.fullmatch(r"\d+(,\d+)?", row[column]) for row in rows)
    assert datetime.fromisoformat(rows[0][0]).utcoffset() == timedelta(hours=-3)
    await page.reload()  # the format is remembered
    await expect(page.get_by_label("Numbers")).to_have_value("comma")


async def test_a_packed_file_unpacks_to_the_same(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-export").click()
    await page.get_by_label("Packed").check()
    file = await saved(page)
    assert b"power_total" in gzip.decompress(file.read_bytes()).splitlines()[0]


async def test_what_cannot_be_meant_is_said(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-export").click()
    until = await page.locator("#to").input_value()
    await page.locator("#from").fill(until)
    await page.get_by_role("button", name="Download CSV").click()
    await expect(page.locator("#download-fault")).to_have_text("The start must come before the end.")
    await page.get_by_role("button", name="Last hour").click()
    for device in ("Main board", "Room 101"):
        card = page.locator("#choice details", has_text=device)
        await card.locator("summary").click()
        await card.get_by_label("All").uncheck()
    await page.get_by_role("button", name="Download CSV").click()
    await expect(page.locator("#download-fault")).to_have_text("Choose at least one point.")
    await asyncio.sleep(0.5)  # an estimate that would be refused is not asked for
