"""Both languages, phone and desktop, light and dark: nothing overflows, all is named and has contrast."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.page.conftest import Office, Visitor

VIEWS = ("live", "plot", "climate", "alarms", "jobs", "export", "reports", "status")
STYLE = Path(__file__).parent.parent.parent / "web" / "src" / "style.css"
TITLES = {
    "pt-BR": [
        "Valores ao vivo",
        "Gráfico ao vivo",
        "Climatização e comandos",
        "Alarmes",
        "Tarefas",
        "Baixar histórico",
        "Relatórios",
        "Estado do agente",
    ],
    "en-GB": [
        "Live values",
        "Live plot",
        "Air conditioning and commands",
        "Alarms",
        "Jobs",
        "Download history",
        "Reports",
        "How the agent is",
    ],
}
STATUS = {
    "readings_per_s": 4.2,
    "stored_readings": 81234,
    "backlog_readings": 1234,
    "store": {"file_bytes": 12.3e6, "discarded_unsent": 3},
    "held_readings": 2,
    "uplinks": [
        {"name": "center", "connected": True, "backlog": 1234, "eta_s": 95.0, "last_error": ""},
        {"name": "second", "connected": False, "backlog": 981234, "eta_s": None, "last_error": "refused"},
    ],
    "lines": [
        {
            "name": "main",
            "failing": False,
            "connected": True,
            "where": "192.168.1.20:502",
            "busy": 0.234,
            "stretch": 1.0,
            "devices": {"meter": {"silent": 4}},
        },
        {
            "name": "bus",
            "failing": True,
            "connected": False,
            "where": "/dev/ttyUSB0 9600 8N1",
            "down": "[Errno 2] No such file",
        },
    ],
}

# What a keyboard or a screen reader meets and nobody has named.
NAMELESS = """() => [...document.querySelectorAll("a, button, input, select, summary")]
  .filter((each) => each.checkVisibility())
  .filter((each) => ![each, each.labels?.[0]].some((named) => named?.ariaLabel || named?.textContent.trim()))
  .map((each) => each.outerHTML)"""
SMALL = """() => [...document.querySelectorAll("button, select, input, nav a")]
  .filter((each) => each.checkVisibility() && each.type !== "checkbox")
  .filter((each) => each.getBoundingClientRect().height < 24)
  .map((each) => each.outerHTML)"""


@pytest.mark.parametrize("language", ["pt-BR", "en-GB"])
@pytest.mark.parametrize("phone", [True, False])
async def test_every_view_fits_and_names_its_controls(
    office: Office, visitor: Visitor, *, language: str, phone: bool
) -> None:
    await office.user()
    office.bell.ring("meter-voltage-high", detail="TimeoutError: " + "x" * 120)
    office.status |= STATUS
    page = await visitor.entered(language=language, phone=phone, dark=phone)
    for name, title in zip(VIEWS, TITLES[language], strict=True):
        await page.locator(f"#tab-{name}").click()
        await expect(page.locator(f"#view-{name} h1")).to_have_text(title)
        await expect(page.locator("[id^=view-]:visible")).to_have_count(1)
        wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, name
        assert await page.evaluate(NAMELESS) == [], name
        assert await page.evaluate(SMALL) == [], name
        words = await page.locator("main").inner_text()
        assert not re.search(r"undefined|NaN|\[object|\{\w+\}", words), words
    nav = await page.locator("#views").evaluate("nav => nav.scrollWidth - nav.clientWidth")
    assert nav <= 0


async def test_the_status_says_what_is_wrong_and_how_long_it_takes(office: Office, visitor: Visitor) -> None:
    await office.user()
    office.status |= STATUS | {
        "clock_trusted": False,
        "healthy": False,
        "reasons": ["the store cannot commit"],
    }
    page = await visitor.entered()
    await page.locator("#tab-status").click()
    await expect(page.locator("#status-lines tr").first).to_contain_text("a device is silent")
    await expect(page.locator("#status-lines tr").last).to_contain_text("No such file")
    await expect(page.locator("#status-uplinks tr").first).to_contain_text("2 min")
    await expect(page.locator("#status-uplinks tr").last).to_contain_text("not known")
    await expect(page.locator("#status-site .bad")).to_have_count(4)
    await expect(page.locator("#status-site")).to_contain_text("not to be trusted yet")


async def test_the_language_is_switched_at_once_and_remembered(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered(language="en-GB")
    await page.locator("#tab-climate").click()
    await page.locator("#language").select_option("pt-BR")
    await expect(page.locator("#view-climate h1")).to_have_text("Climatização e comandos")
    await expect(page.locator("[data-point='ac-101.mode'] .now")).to_have_text("resfriar")
    await expect(page.locator("[data-point='ac-101.temperature_setpoint'] .now")).to_have_text("23,0 °C")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("lang", "pt-BR")
    await expect(page.locator("#link")).to_have_text("ao vivo")
    await expect(page).to_have_title("Clima · UICPS Edge Agent")


def colours(text: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", text))


def luminance(colour: str) -> float:
    """Relative, after WCAG 2: 0 black to 1 white."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_texts_have_contrast_by_day_and_night() -> None:
    text = STYLE.read_text(encoding="utf-8")
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    day = colours(light)
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for theme in (day, day | colours(dark)):
        for name in ("ink", "soft", "good", "uncertain", "bad"):
            for ground in ("card", "ground"):
                assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground, theme[name])
        assert contrast(theme["on-accent"], theme["accent"]) >= 4.5
        for name in ("field", "accent", *(f"series-{at}" for at in range(1, 7))):
            assert contrast(theme[name], theme["card"]) >= 3, name
