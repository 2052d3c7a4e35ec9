"""Override and release of an air conditioner, through the real dispatch."""

from __future__ import annotations

import re

from playwright.async_api import expect

from agent.dispatch import Priority
from agent.server import Role
from tests.page.conftest import Office, Visitor

SETPOINT = "ac-101.temperature_setpoint"


async def test_override_is_written_shown_and_released(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-climate").click()
    row = page.locator(f"[data-point='{SETPOINT}']")
    await expect(row.locator(".now")).to_have_text("23.0 °C")
    await expect(row.locator(".holder")).to_have_text("nobody commands it")
    await row.locator("input").fill("21.5")
    await page.get_by_label("For").select_option("30")
    await page.get_by_role("button", name="Override").click()
    await expect(row.locator(".holder")).to_have_text(re.compile(r"^manual · .*ana · 30 min left · written$"))
    await expect(row.locator(".now")).to_have_text("21.5 °C")
    assert office.written == [(SETPOINT, 21.5)]  # what was not touched is not commanded
    held = office.dispatch.winner(SETPOINT)
    assert held is not None
    assert held.priority is Priority.MANUAL
    assert 1700 < office.dispatch.left_s(held) <= 1800

    await page.reload()  # the lease is the agent's, not the page's
    await expect(row.locator(".holder")).to_contain_text("manual")
    await page.get_by_role("button", name="Release").click()
    await expect(row.locator(".holder")).to_have_text("nobody commands it")
    assert office.dispatch.winner(SETPOINT) is None


async def test_what_cannot_be_commanded_is_said_with_the_reason(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-climate").click()
    fault = page.locator(".climate .fault")
    await page.get_by_role("button", name="Override").click()
    await expect(fault).to_have_text("First change what you want to command.")
    await page.locator(f"[id='set-{SETPOINT}']").fill("99")
    await page.get_by_role("button", name="Override").click()
    await expect(fault).to_contain_text("expected 16 to 30, found 99")
    await page.locator(f"[id='set-{SETPOINT}']").focus()
    await page.keyboard.press("Escape")  # as it was
    await expect(page.locator(f"[id='set-{SETPOINT}']")).to_have_value("23")
    await page.locator(f"[id='set-{SETPOINT}']").fill("")
    await page.get_by_role("button", name="Override").click()
    await expect(fault).to_have_text("temperature setpoint: a number is needed")
    assert office.written == []
    await page.locator("#language").select_option("pt-BR")
    await page.locator(f"[id='set-{SETPOINT}']").fill("22.3")
    await page.get_by_role("button", name="Assumir").click()
    await expect(fault).to_contain_text("o permitido são passos de 0,5 a partir de 16, foi pedido 22,3")


async def test_the_control_loop_is_shown_and_outranked(office: Office, visitor: Visitor) -> None:
    await office.user()
    office.dispatch.submit("ac-101.on", 0.0, Priority.CONTROL, "comfort", 600)
    page = await visitor.entered()
    await page.locator("#tab-climate").click()
    row = page.locator("[data-point='ac-101.on']")
    await expect(row.locator(".holder")).to_contain_text("automatic control · comfort")
    await expect(row.locator(".now")).to_have_text("off")
    await row.locator("select").select_option("1")
    await page.get_by_role("button", name="Override").click()
    await expect(row.locator(".now")).to_have_text("on")
    await page.get_by_role("button", name="Release").click()
    await expect(row.locator(".now")).to_have_text("off")


async def test_why_control_commands_is_said_once_and_in_the_chosen_language(
    office: Office, visitor: Visitor
) -> None:
    await office.user()
    why = "control: start rule: occupied; starts 12 min ahead at 2.5 K/h"
    for point, value in (("ac-101.on", 1.0), (SETPOINT, 22.0)):
        office.dispatch.submit(point, value, Priority.CONTROL, why, 600)
    page = await visitor.entered(language="pt-BR", phone=True)
    await page.locator("#tab-climate").click()
    once = page.locator(".climate > .holder")
    await expect(once).to_have_text("regra de partida: ocupada; parte 12 min antes, a 2,5 K/h")
    row = page.locator("[data-point='ac-101.on'] .holder")
    await expect(row).to_have_text(re.compile(r"^controle automático · ainda \d+ min · "))
    boxes = [
        await page.locator(f"[data-point='{SETPOINT}'] {each}").bounding_box() for each in ("label", ".now")
    ]
    assert all(boxes)
    name, now = boxes
    assert name["y"] + name["height"] <= now["y"] + 1  # type: ignore[index]  # one is not written over the other
    await expect(page.locator("[data-point='ac-101.mode'] .holder")).to_have_text("ninguém comanda")
    office.dispatch.submit("ac-101.on", 0.0, Priority.CONTROL, "control: schedule: empty", 600)
    await expect(row).to_contain_text("controle automático · horário fixo: vazia · ")
    await expect(page.locator(f"[data-point='{SETPOINT}'] .holder")).to_contain_text("regra de partida")
    await expect(once).to_be_hidden()


async def test_a_viewer_sees_but_does_not_command(office: Office, visitor: Visitor) -> None:
    await office.user("bia", Role.VIEWER)
    page = await visitor.entered("bia")
    await page.locator("#tab-climate").click()
    await expect(page.locator(".climate .said")).to_have_text("Your role may not command.")
    await expect(page.get_by_role("button", name="Override")).to_be_disabled()
    await expect(page.locator(f"[id='set-{SETPOINT}']")).to_be_disabled()


async def test_what_control_wants_of_each_unit_and_why_is_shown(office: Office, visitor: Visitor) -> None:
    decision = {
        "room": "office-101", "unit": "split", "on": True, "setpoint_c": 23.5, "dry": False, "rung": 1,
        "reason": "start rule: occupied, 24.7 °C (no model accepted yet)", "alarm": "", "mode": "observe",
    }  # fmt: skip
    empty = decision | {
        "room": "hall",
        "on": False,
        "mode": "control",
        "alarm": "does not obey, told three times",
    }
    office.status["control"] = {"decisions": [decision, empty]}
    await office.user()
    page = await visitor.entered()
    await page.locator("#tab-climate").click()
    row = page.locator("[data-room='office-101']")
    await expect(row).to_contain_text("office-101, split")
    await expect(row).to_contain_text("observed only: nothing is commanded")
    await expect(row).to_contain_text("optimum start")
    await expect(row.locator(".value")).to_have_text("on, 23.5 °C")
    await expect(page.locator("[data-room='hall'] .value")).to_have_text("off")
    await page.locator("#language").select_option("pt-BR")
    await expect(row).to_contain_text("partida ótima")
    await expect(row).to_contain_text("regra de partida: ocupada, 24,7 °C (nenhum modelo aceito ainda)")
    await expect(row.locator(".value")).to_have_text("ligado, 23,5 °C")
    await expect(page.locator("[data-room='hall']")).to_contain_text("não obedece, avisado três vezes")
