"""E-mail by SMTP: one event is one mail, many are a digest.

Rules.
1. After the first event `gather_s` more are waited for; after a mail `pause_s`: what comes meanwhile is one
   digest. While the server is away events wait in the journal.
2. A message that the server refuses for good (5xx to its content) is passed over, with a line in the log;
   everything else is tried again.
3. What stands in a header is one line, whoever wrote the text of an alarm.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, tzinfo
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any, TypeVar

import aiosmtplib

from agent.alarms import texts
from agent.alarms.alarm import Change, Event
from agent.alarms.outlets.options import MailOptions
from agent.supervise import describe

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
BATCH_MAX = 500
LINES_MAX = 100
SUBJECT_CHARS_MAX = 120

Result = TypeVar("Result")


class Mail:
    """Outlet `mail`, in `language`, with local times of `zone`. `read_secret` reads the password's file."""

    batch_max = BATCH_MAX

    def __init__(
        self,
        options: MailOptions,
        site: str,
        *,
        language: str,
        zone: tzinfo,
        read_secret: Callable[[Path], str],
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._options, self._site, self._language, self._zone = options, site, language, zone
        self._read_secret = read_secret
        self._now = now or (lambda: datetime.now(zone))

    async def deliver(self, events: Sequence[Event], lost: int) -> None:
        """Send one mail with all of `events`; OSError if it did not get out."""
        message = compose(events, lost, self._site, self._language, self._zone)
        message["From"], message["To"] = self._options.sender, ", ".join(self._options.to)
        message["Date"] = format_datetime(self._now())
        message["Message-ID"] = make_msgid(domain=self._options.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers from holidays
        await self._send(message)

    async def _send(self, message: EmailMessage) -> None:
        options = self._options
        try:
            sending = aiosmtplib.send(
                message,
                hostname=options.host,
                port=options.port,
                username=options.user or None,
                password=self._read_secret(options.password_file) if options.password_file else None,
                use_tls=options.security == "tls",
                start_tls=options.security == "starttls",
                tls_context=_tls(options),
                timeout=TIMEOUT_S,
            )
            refused, _ = await _cancellable(sending)
        except aiosmtplib.SMTPDataError as error:
            if error.code < 500:
                raise ConnectionError(f"{options.host}: {describe(error)}") from error
            log.warning("outlet %s: %s refuses a mail for good: %s", options.name, options.host, error)
            return
        except (aiosmtplib.SMTPException, ValueError) as error:
            raise ConnectionError(f"{options.host}: {describe(error)}") from error
        for address, answer in refused.items():
            log.warning("outlet %s: %s is refused: %s", options.name, address, answer)


async def _cancellable(work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work`, cancelled as often as it takes: `asyncio.wait_for` of Python 3.11, which the library
    stands on, drops a cancellation that meets a result, and the agent would wait TIMEOUT_S to stop."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=0.1)
        if not task.cancelled():
            task.exception()  # looked at, or the loop complains
        raise
    return task.result()


def _tls(options: MailOptions) -> ssl.SSLContext | None:
    if options.security == "off":
        return None
    try:
        return ssl.create_default_context(cafile=options.ca_file)
    except ssl.SSLError as error:
        raise OSError(f"{options.ca_file}: expected certificates in PEM: {error}") from error


def compose(events: Sequence[Event], lost: int, site: str, language: str, zone: tzinfo) -> EmailMessage:
    """Subject and text of a mail about `events`. Pure."""
    message = EmailMessage()
    message["Subject"] = _one_line(_subject(events, lost, site, language))[:SUBJECT_CHARS_MAX]
    lines = [_line(event, language, zone) for event in events[:LINES_MAX]]
    if len(events) > LINES_MAX:
        lines.append(texts.mail("more", language, count=len(events) - LINES_MAX))
    if lost:
        lines.append(texts.mail("lost", language, count=lost))
    footer = texts.mail("footer", language, site=site)
    message.set_content("\n".join([*lines, "", footer, ""]))
    return message


def _subject(events: Sequence[Event], lost: int, site: str, language: str) -> str:
    if not events:
        return f"[{site}] {texts.mail('lost', language, count=lost)}"
    worst = min(events, key=lambda event: event.alarm.priority.rank).alarm.priority
    word = texts.priority_word(worst, language)
    if len(events) > 1:
        return texts.mail("many", language, site=site, count=len(events), priority=word)
    change = texts.change_word(events[0].change, language)
    text = f"{events[0].alarm.words.in_language(language)} ({change})"
    return texts.mail("one", language, site=site, priority=word, text=text)


def _line(event: Event, language: str, zone: tzinfo) -> str:
    alarm = event.alarm
    when = datetime.fromtimestamp(event.time_ms / 1000, zone).strftime("%Y-%m-%d %H:%M:%S")
    details = [alarm.detail, event.note]
    if alarm.value == alarm.value and event.change in (Change.RAISED, Change.HELD):
        details.append(texts.mail("value", language, value=f"{alarm.value:g}"))
    if event.who:
        details.append(texts.mail("by", language, who=event.who))
    said = "; ".join(filter(None, details))
    words = alarm.words.in_language(language)
    change, priority = (
        texts.change_word(event.change, language),
        texts.priority_word(alarm.priority, language),
    )
    return _one_line(f"{when}  {priority}  {change}: {words} [{alarm.id}]{f' ({said})' if said else ''}")


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
