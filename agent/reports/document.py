"""A report as one HTML file: the frame that all reports share, with its style inside. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from agent import __version__
from agent.reports.markup import Content, Html, joined, tag
from agent.reports.words import Words

STYLE = Path(__file__).parent / "style.css"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Head:
    """What is said above a report. `data` says from when to when its readings are."""

    title: str
    subject: str
    site: str
    data: str


def document(head: Head, words: Words, *content: Content) -> bytes:
    """The whole file. No script can run in it, and it fetches nothing: its own policy says so, too."""
    title = f"{head.title} · {head.subject} · {head.data}"
    running = _css_text(f"{head.title} · {head.subject} · {head.data}")
    whole = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="generator", content=f"UICPS Edge Agent {__version__}"),
            tag("title", title),
            tag("style", Html(_style() + _paged(running, words))),
        ),
        tag("body", _header(head, words), tag("main", *content), _footer(head, words)),
        lang=words.language,
    )
    return f"<!doctype html>\n{whole}\n".encode()


def _header(head: Head, words: Words) -> Html:
    return tag(
        "header",
        tag("p", "UICPS Edge Agent", class_="brand"),
        tag("h1", head.title),
        tag("p", tag("strong", head.subject), " · ", words.t("site", site=head.site), class_="subject"),
        tag("p", head.data, class_="data"),
    )


def _footer(head: Head, words: Words) -> Html:
    zone = getattr(words.zone, "key", "UTC")
    return tag("footer", tag("p", words.t("made_by", version=__version__, zone=zone, data=head.data)))


@lru_cache(maxsize=1)
def _style() -> str:
    return STYLE.read_text(encoding="utf-8")


def _paged(running: str, words: Words) -> str:
    """Heads and feet of printed pages, where the browser knows margin boxes."""
    page = _css_text(words.t("page"))
    return (
        f'@page{{@top-left{{content:"{running}"}}'
        f'@bottom-left{{content:"UICPS Edge Agent {__version__}"}}'
        f'@bottom-right{{content:"{page} " counter(page) " / " counter(pages)}}}}'
        "@page:first{@top-left{content:none}}"
    )


def _css_text(text: str) -> str:
    """A text in quotes of a style sheet: what means something there, or in HTML, is written by its code."""
    return "".join(each if each.isalnum() or each in " .,:-–·/" else f"\\{ord(each):x} " for each in text)


def verdict(words: Words, within: bool | None, well: str = "within", ill: str = "beyond") -> Html:
    """A word with a sign, for eyes that see no colour."""
    key, sign, class_ = {
        True: (well, "✓", "good"),
        False: (ill, "✗", "bad"),
        None: ("not_judged", "–", "open"),
    }[within]
    return tag("span", f"{sign} {words.t(key)}", class_=f"verdict {class_}")


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the summary: its name, what it is, what is allowed, how that is."""

    name: str
    value: str
    limit: str = ""
    verdict: Html | str = ""


def tiles(found: list[Tile]) -> Html:
    """The summary at the top."""
    return tag(
        "ul",
        [
            tag(
                "li",
                tag("span", each.name, class_="name"),
                tag("span", each.value, class_="value"),
                tag("span", each.limit, class_="allowed") if each.limit else "",
                each.verdict or "",
            )
            for each in found
        ],
        class_="tiles",
    )


__all__ = ["Head", "Tile", "document", "joined", "tiles", "verdict"]
