"""E-mail on a real SMTP server, over TLS where it matters."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from agent.alarms import Alarm, Change, Event, Priority, Words
from agent.alarms.outlets import MailOptions
from agent.alarms.outlets.mail import LINES_MAX, Mail, compose
from agent.schema import FaultyFile, validate
from agent.tls.authority import Authority
from agent.uplink import secret
from tests.alarms.outlets.box import following, writing
from tests.alarms.site import START_MS, alarm
from tests.conftest import until

ZONE = ZoneInfo("America/Sao_Paulo")


class Postbox:
    """Takes mails; `answers` are given to their content one after the other, then 250."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.answers: list[str] = []
        self.refused: set[str] = set()
        self.tries = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.tries += 1
        if self.answers:
            return self.answers.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"


@asynccontextmanager
async def listening(port: int, **options: Any) -> AsyncIterator[Postbox]:
    box = Postbox()
    loop = asyncio.get_running_loop()
    use_tls = options.pop("ssl", None)

    def protocol() -> SMTP:
        with warnings.catch_warnings(
            action="ignore"
        ):  # of logins without STARTTLS: ours are over TLS, or wrong
            return SMTP(box, loop=loop, hostname="mail.test", enable_SMTPUTF8=True, **options)

    server = await loop.create_server(protocol, "127.0.0.1", port, ssl=use_tls)
    try:
        yield box
    finally:
        server.close()
        await server.wait_closed()


def table(port: int, **more: Any) -> dict[str, Any]:
    return {
        "name": "team",
        "kind": "mail",
        "host": "127.0.0.1",
        "port": port,
        "security": "off",
        "sender": "agent@acme.example",
        "to": ["ana@acme.example", "bia@acme.example"],
        "gather_s": 0.1,
        "pause_s": 0.0,
        **more,
    }


def mail(port: int, language: str = "pt-BR", **more: Any) -> tuple[MailOptions, Mail]:
    options = validate(MailOptions, table(port, **more), "c.toml")
    return options, Mail(options, "acme", language=language, zone=ZONE, read_secret=secret)


async def test_one_event_is_one_mail(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    options, outlet = mail(port)
    async with listening(port) as box, writing(tmp_path) as alarms, following(alarms, options, outlet):
        words = Words("Tensão alta\r\nBcc: eve@x", "High voltage")
        alarms.raise_alarm(Alarm("v.high", words, Priority.HIGH), value=231.5)
        await until(lambda: box.mails)
    (one,) = box.mails
    assert one["Subject"] == "[acme] ALTO: Tensão alta  Bcc: eve@x (Ativo)"
    assert one["Bcc"] is None
    assert (one["From"], one["To"]) == ("agent@acme.example", "ana@acme.example, bia@acme.example")
    assert one["Auto-Submitted"] == "auto-generated"
    assert one["Message-ID"].endswith("@acme.example>")
    assert box.recipients == [["ana@acme.example", "bia@acme.example"]]
    text = one.get_content()
    assert "2026-01-02 00:03:04  ALTO  Ativo: Tensão alta" in text
    assert "valor 231.5" in text


async def test_many_are_a_digest(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    options, outlet = mail(port, language="en", gather_s=0.3)
    async with (
        listening(port) as box,
        writing(tmp_path) as alarms,
        following(alarms, options, outlet, gather_s=options.gather_s),
    ):
        for at in range(30):
            alarms.raise_alarm(alarm(f"a{at}"))
        alarms.raise_alarm(alarm("worst", Priority.CRITICAL))
        await until(lambda: box.mails)
    assert [each["Subject"] for each in box.mails] == ["[acme] 31 alarm events, the worst CRITICAL"]


async def test_while_the_server_is_away_they_wait(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    options, outlet = mail(port)
    async with writing(tmp_path) as alarms, following(alarms, options, outlet) as follower:
        alarms.raise_alarm(alarm("a"))
        await until(lambda: follower.episode.failures > 1)
        alarms.raise_alarm(alarm("b"))
        await alarms.settled()
        async with listening(port) as box:
            await until(lambda: box.mails)
    assert "2 eventos" in box.mails[0]["Subject"]


async def test_greylisting_is_tried_again_and_a_refusal_for_good_is_not(
    tmp_path: Path, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    options, outlet = mail(port)
    async with listening(port) as box, writing(tmp_path) as alarms, following(alarms, options, outlet):
        box.answers = ["451 later", "550 spam"]
        alarms.raise_alarm(alarm("a"))
        await until(lambda: box.tries == 2)
        await until(lambda: "for good" in caplog.text)
        alarms.raise_alarm(alarm("b"))
        await until(lambda: box.mails)
    assert "pt b" in box.mails[0]["Subject"]


async def test_one_mailbox_that_is_gone_does_not_keep_the_other_from_it(
    tmp_path: Path, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    options, outlet = mail(port)
    async with listening(port) as box, writing(tmp_path) as alarms, following(alarms, options, outlet):
        box.refused.add("ana@acme.example")
        alarms.raise_alarm(alarm("a"))
        await until(lambda: box.mails)
        await until(lambda: "ana@acme.example is refused" in caplog.text)
    assert box.recipients == [["bia@acme.example"]]


def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth: Any) -> AuthResult:
    assert isinstance(auth, LoginPassword)
    return AuthResult(success=auth.login == b"agent" and auth.password == b"S3CRET", handled=False)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_login_over_tls(tmp_path: Path, free_port: Callable[[], int], security: str) -> None:
    port = free_port()
    certificates = Authority(tmp_path / "tls", lambda: ["127.0.0.1"])
    context = await asyncio.to_thread(certificates.open)
    authority, password = tmp_path / "ca.pem", tmp_path / "password"
    authority.write_bytes(certificates.ca_pem)
    password.write_text("S3CRET\n")
    more: dict[str, Any] = {"authenticator": check, "auth_required": True}
    more |= {"tls_context": context, "require_starttls": True} if security == "starttls" else {}
    more |= {"ssl": context, "auth_require_tls": False} if security == "tls" else {}
    settings = {"security": security, "user": "agent", "password_file": password}
    options, outlet = mail(port, ca_file=authority, **settings)
    stranger_options, stranger = mail(port, name="stranger", **settings)
    async with (
        listening(port, **more) as box,
        writing(tmp_path) as alarms,
        following(alarms, options, outlet),
        following(alarms, stranger_options, stranger) as distrustful,
    ):
        alarms.raise_alarm(alarm("a"))
        await until(lambda: box.mails and distrustful.episode.failures > 1)
    assert len(box.mails) == 1  # who does not know the authority has sent nothing


async def test_a_wrong_password_is_said_without_showing_it(
    tmp_path: Path, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    password = tmp_path / "password"
    password.write_text("hunter2-wrong\n")
    options, outlet = mail(port, user="agent", password_file=password)
    more = {"authenticator": check, "auth_required": True, "auth_require_tls": False}
    async with (
        listening(port, **more) as box,
        writing(tmp_path) as alarms,
        following(alarms, options, outlet) as follower,
    ):
        alarms.raise_alarm(alarm("a"))
        await until(lambda: follower.episode.failures > 1)
    assert not box.mails
    assert "535" in caplog.text
    assert "hunter2" not in caplog.text


async def test_stopping_does_not_wait_for_a_server_that_says_nothing(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port, come = free_port(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        come.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", port)
    options, outlet = mail(port)
    async with writing(tmp_path) as alarms:
        async with asyncio.timeout(10):
            async with following(alarms, options, outlet):
                alarms.raise_alarm(alarm("a"))
                await come.wait()
            begun_s = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - begun_s < 1
    server.close()


def event(at: int = 0, change: Change = Change.RAISED, who: str = "", note: str = "") -> Event:
    return Event(at, START_MS, change, who, note, alarm(f"a{at}").up(START_MS))


def test_a_mail_is_never_long() -> None:
    text = compose([event(at) for at in range(500)], 7, "acme", "en", ZONE).get_content()
    assert text.count("[a") == LINES_MAX
    assert "and 400 more events" in text
    assert "7 earlier events could not be sent" in text


def test_only_what_was_lost() -> None:
    found = compose([], 7, "acme", "pt-BR", ZONE)
    assert found["Subject"] == "[acme] 7 eventos anteriores não puderam ser enviados"


def test_who_did_it_is_said() -> None:
    found = compose([event(1, Change.ACKNOWLEDGED, "ana", "seen")], 0, "acme", "pt-BR", ZONE)
    assert "Reconhecido: pt a1 [a1] (seen; por ana)" in found.get_content()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"to": ["ana"]}, "expected an address like ana@example.org"),
        ({"to": ["ana@x\r\nBcc: eve@x"]}, "expected an address"),
        ({"to": []}, "at least 1"),
        ({"sender": "Ana <ana@x>"}, "expected an address"),
        ({"user": "ana"}, "both user and password_file"),
        ({"user": "ana", "password_file": Path("p"), "host": "mail.example"}, "read on the way"),
    ],
)
def test_words_for_what_is_wrong(more: dict[str, Any], words: str) -> None:
    with pytest.raises(FaultyFile, match=words):
        validate(MailOptions, table(25, **more), "c.toml")
