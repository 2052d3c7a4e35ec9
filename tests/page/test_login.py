"""The way in: the first administrator, passwords, the second factor, and out again."""

from __future__ import annotations

from pathlib import Path

import pyotp
from playwright.async_api import expect

from tests.page.conftest import PASSWORD, Office, Visitor, chromium, sign_in


async def test_the_first_admin_is_made_with_the_code_of_the_log(office: Office, visitor: Visitor) -> None:
    page = await visitor.page()
    code = office.server.office.setup.code
    await page.locator("#setup-code").fill("WRONG-CODE")
    await page.locator("#setup-user").fill("ana")
    await page.locator("#setup-password").fill(PASSWORD)
    await page.locator("#setup button").click()
    await expect(page.locator("#setup-error")).to_have_text("The setup code is wrong.")
    assert visitor.complaints.pop().startswith("Failed to load resource")
    await page.locator("#setup-code").fill(code)
    await page.locator("#setup button").click()
    await expect(page.locator("#link")).to_have_text("live")
    await expect(page.locator("[data-id='meter.power_total'] .value")).to_contain_text("W")


async def test_a_wrong_password_is_said_and_reload_stays_signed_in(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.page()
    await sign_in(page, password="wrong")
    await expect(page.locator("#login-error")).to_have_text("Wrong user or password.")
    assert visitor.complaints.pop().startswith("Failed to load resource")
    await sign_in(page)
    await expect(page.locator("#link")).to_have_text("live")
    await page.reload()
    await expect(page.locator("#link")).to_have_text("live")
    await page.locator("#sign-out").click()
    await expect(page.locator("#login")).to_be_visible()
    await expect(page.locator("#devices")).to_be_empty()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_second_factor_from_its_qr_code_to_the_next_login(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.locator("#factor-open").click()
    await page.locator("#factor-password").fill(PASSWORD)
    await page.locator("#factor-go").click()
    await expect(page.locator("#factor-qr svg")).to_be_visible()
    secret = (await page.locator("#factor-secret").inner_text()).replace(" ", "")
    app = pyotp.TOTP(secret)
    await page.locator("#factor-first").fill(app.at(int(office.now_s())))
    await page.locator("#factor-confirm button").click()
    await expect(page.locator("#factor-codes")).to_be_visible()
    codes = (await page.locator("#factor-codes").inner_text()).split()
    assert len(codes) == 10
    await page.locator("#factor-close").click()
    await page.locator("#sign-out").click()

    await sign_in(page)
    await expect(page.locator("#totp")).to_be_focused()
    assert visitor.complaints.pop().startswith("Failed to load resource")
    office.ahead_s += 30  # a code works once
    await page.locator("#totp").fill(app.at(int(office.now_s())))
    await page.locator("#password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.locator("#link")).to_have_text("live")


async def test_what_the_browser_kept_may_be_broken(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await page.evaluate("""() => {
      for (const name of ["plot", "export", "language"]) localStorage.setItem(`uicps.${name}`, "{broken");
      sessionStorage.setItem("uicps.session", "{broken");
    }""")
    await page.reload()
    await sign_in(page)
    await expect(page.locator("#link")).to_have_text("live")


async def test_a_user_who_is_disabled_is_out_within_seconds(office: Office, visitor: Visitor) -> None:
    await office.user()
    page = await visitor.entered()
    await office.server.users.set_disabled("ana", True)
    await expect(page.locator("#login")).to_be_visible()
    await expect(page.locator("#login-error")).to_have_text("The session has ended. Sign in again.")
    visitor.complaints.clear()  # the refused renewal


async def test_the_page_speaks_tls_to_the_end(tmp_path: Path) -> None:
    async with Office(tmp_path, tls="on") as office, chromium() as browser:
        await office.user()
        visitor = Visitor(browser, office)
        page = await visitor.page()
        async with page.expect_websocket() as coming:
            await sign_in(page)
        assert (await coming.value).url.startswith("wss://")
        await expect(page.locator("#link")).to_have_text("live")
        assert not visitor.complaints
