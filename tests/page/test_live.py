"""What moves: live values with age and quality, the plot, the connection."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from playwright.async_api import Page, WebSocket, expect

from agent.model import Device, Group, Point, Quality, Reading
from tests.page.conftest import METER, SHOW_MS, Office, Visitor, sign_in

T = TypeVar("T")


def watts(text: str) -> float:
    return float(re.sub(r"[^0-9.]", "", text.removesuffix("W")))


async def test_values_change_and_say_unit_age_and_quality(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    value = page.locator("[data-id='meter.power_total'] .value")
    await expect(value).to_have_text(re.compile(r"\d"))
    before = await value.inner_text()
    await expect(value).not_to_have_text(before)
    assert watts(await value.inner_text()) > watts(before)
    await expect(value.locator("small")).to_have_text("W")
    group = page.locator(".device", has_text="Main board").locator(".group")
    await expect(group.locator(".quality")).to_have_text("quality good")
    await expect(group.locator(".age")).to_have_text(re.compile("^[0-2] s ago$"))
    await expect(page.locator("[data-id='ac-101.mode'] .value")).to_have_text("cool")


async def test_a_meter_that_fails_never_shows_its_last_value(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await expect(page.locator("[data-id='meter.power_total'] .value")).to_contain_text("W")
    office.failing.add(METER)
    await expect(page.locator("[data-id='meter.power_total'] .value")).to_have_text("no value")
    group = page.locator(".device", has_text="Main board").locator(".group")
    await expect(group.locator(".quality")).to_have_attribute("data-is", Quality.BAD.name.lower())


async def test_a_device_that_is_added_appears_by_itself(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    value = page.locator("[data-id='meter.power_total'] .value")
    await expect(value).to_contain_text("W")
    added = Group(Device("cellar", "xy-md02", "Cellar"), "all", (Point("humidity", "%"),), 1000)
    office.hub.declare(added)
    office.hub.publish([Reading(added, int(time.time() * 1000), (61.5,))])
    await expect(page.locator("[data-id='cellar.humidity'] .value")).to_contain_text("61.5")
    await expect(value).to_contain_text("W")


async def test_the_agents_own_is_at_the_end_and_closed(office: Office, visitor: Visitor) -> None:
    own = Group(Device("analysis", "agent"), "losses", (Point("night_load", "W"),), 1000)
    office.hub.declare(own)
    office.hub.publish([Reading(own, int(time.time() * 1000), (62.0,))])
    await office.user()
    page = await visitor.entered()
    value = page.locator("[data-id='analysis.night_load'] .value")
    await expect(page.locator(".device").last).to_contain_text("Analyses")
    await expect(value).to_be_hidden()
    await page.locator("#filter").fill("night")
    await expect(value).to_contain_text("62")
    await page.locator("#filter").fill("")
    await expect(value).to_be_hidden()
    await page.locator(".device.own summary").click()
    await expect(value).to_contain_text("62")


async def test_points_are_called_in_the_language_of_the_reader(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    name = page.locator("[data-id='meter.voltage_l1'] th")
    await expect(name).to_have_text("voltage L1")
    await expect(name).to_have_attribute("title", "meter.voltage_l1")
    await page.locator("#language").select_option("pt-BR")
    await expect(name).to_have_text("tensão L1")
    await expect(page.locator("[data-id='meter.power_total'] th")).to_have_text("power_total")
    await page.locator("#filter").fill("tensão")
    await expect(name).to_be_visible()
    await expect(page.locator("[data-id='meter.power_total'] th")).to_be_hidden()


async def canvas(page: Page) -> str:
    picture: str = await page.locator("#plot-area canvas").evaluate("canvas => canvas.toDataURL()")
    return picture


async def plotted(page: Page) -> dict[str, int]:
    """How many pixels each series has drawn, by its colour."""
    counts: dict[str, int] = await page.locator("#plot-area canvas").evaluate(
        """canvas => {
          const style = getComputedStyle(document.documentElement);
          const sheet = new OffscreenCanvas(canvas.width, canvas.height);
          const copy = sheet.getContext("2d", { willReadFrequently: true });
          copy.drawImage(canvas, 0, 0);
          const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
          const found = {};
          for (let at = 1; at <= 6; at += 1) {
            const colour = parseInt(style.getPropertyValue(`--series-${at}`).trim().slice(1), 16);
            let count = 0;
            for (let p = 0; p < data.length; p += 4)
              count += (data[p] << 16 | data[p + 1] << 8 | data[p + 2]) === colour && data[p + 3] === 255;
            found[at] = count;
          }
          return found;
        }"""
    )
    return counts


async def until(look: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> None:
    """Look again and again until it is good; TimeoutError after SHOW_MS."""
    async with asyncio.timeout(SHOW_MS / 1000):
        while not good(await look()):
            await asyncio.sleep(0.05)


async def heard(page: Page, good: Callable[[], bool]) -> None:
    """Wait until what was listened for has come."""
    await until(lambda: page.locator("#link").count(), lambda _: good())


async def drawn(page: Page, *series: int) -> None:
    """Wait until these series span the plot: the few seconds since the start are a few dozen pixels."""
    await expect(page.locator("#plot-area canvas")).to_be_visible()
    await until(lambda: plotted(page), lambda counts: all(counts[str(each)] > 300 for each in series))


async def test_the_plot_begins_with_the_past_and_moves(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-plot").click()
    await expect(page.locator("#plot-legend li")).to_have_count(2)  # a power and a temperature by themselves
    await expect(page.locator("#plot-legend .now").first).to_contain_text("W")
    await drawn(page, 1, 2)
    before = await canvas(page)
    await until(lambda: canvas(page), lambda now: now != before)

    await page.locator("#plot-add").select_option("meter.voltage_l1")
    await expect(page.locator("#plot-legend li")).to_have_count(3)
    await drawn(page, 3)
    await page.get_by_role("button", name="Take off the plot: meter.power_total").click()
    await expect(page.locator("#plot-legend li")).to_have_count(2)
    for _ in range(4):  # the choice is ahead of what is drawn when it is drawn again
        await page.locator("#plot-add").select_option("meter.power_total")
        await page.wait_for_timeout(130)
        await page.get_by_role("button", name="Take off the plot: meter.power_total").click()
    await page.reload()  # what was chosen is remembered
    await expect(page.locator("#plot-legend li").last).to_contain_text("voltage L1")


async def test_a_long_period_comes_in_steps(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.page()
    asked: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda text: asked.append(str(text))))
    await sign_in(page)
    await page.locator("#tab-plot").click()
    await page.locator("#plot-add").select_option("ac-101.mode")
    await drawn(page, 1, 2)
    asked.clear()
    await page.get_by_label("Period shown").select_option("60")
    means = ('"step_s":4,"aggregate":"mean"', "power_total")
    last = ('"step_s":4,"aggregate":"last"', "ac-101.mode")
    await heard(page, lambda: any(all(word in text for word in means) for text in asked))
    await heard(page, lambda: any(all(word in text for word in last) for text in asked))
    # Six minutes of an hour: a tenth of the width, for the mode, which is a straight line.
    await until(lambda: plotted(page), lambda counts: 50 < counts["3"] < 500)


async def test_a_point_is_put_on_the_plot_beside_its_value(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    button = page.locator("#devices [data-id='meter.voltage_l1'] button")
    await expect(button).to_have_attribute("aria-pressed", "false")
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(button).to_have_attribute("aria-pressed", "true")
    await page.locator("#tab-plot").click()
    await expect(page.locator("#plot-legend")).to_contain_text("voltage L1")


async def test_the_connection_is_found_again_after_it_was_lost(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.evaluate(
        """() => {
          const link = document.getElementById("link");
          window.states = [];
          const seen = () => window.states.push(link.dataset.state);
          new MutationObserver(seen).observe(link, { attributes: true });
        }"""
    )
    office.server.sockets.close()
    await until(lambda: page.evaluate("window.states"), lambda seen: "waiting" in seen and seen[-1] == "live")
    value = page.locator("[data-id='meter.power_total'] .value")
    before = await value.inner_text()
    await expect(value).not_to_have_text(before)


async def test_the_token_is_renewed_in_the_socket(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.page()
    sockets: list[WebSocket] = []
    sent: list[str] = []
    page.on(
        "websocket",
        lambda socket: (sockets.append(socket), socket.on("framesent", lambda text: sent.append(str(text)))),
    )
    await sign_in(page)
    await expect(page.locator("#link")).to_have_attribute("data-state", "live")
    for _ in range(3):  # each time nearly all of the token's fifteen minutes
        sent.clear()
        office.ahead_s += 14.5 * 60
        await heard(page, lambda: any("token.refresh" in text for text in sent))
    value = page.locator("[data-id='meter.power_total'] .value")
    before = await value.inner_text()
    await expect(value).not_to_have_text(before)
    assert len(sockets) == 1
