"""HTML and SVG made of nested calls: what is not made here is text, and is escaped. Nothing gets round it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeAlias


class Html(str):
    """Markup that was made by `tag`; every other text is escaped where it goes in."""

    __slots__ = ()


Content: TypeAlias = "str | Html | Iterable[str | Html]"
KEPT_ROWS_MAX = 14  # a table this short is not parted by a page
VOID = frozenset({"meta", "br", "hr", "rect", "line", "path", "circle", "polyline", "col"})


def tag(name: str, /, *content: Content, **attributes: str | float | None) -> Html:
    """`<name attribute="...">content</name>`. A trailing "_" of an attribute's name is left out, "_" becomes
    "-"; None leaves the attribute out. Numbers are written as short as they are."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID and not content:
        return Html(f"<{name}{written}>" if name in ("meta", "br", "hr", "col") else f"<{name}{written}/>")
    return Html(f"<{name}{written}>{joined(*content)}</{name}>")


def joined(*content: Content) -> Html:
    """Pieces one after the other."""
    parts: list[str] = []
    for each in content:
        if isinstance(each, Html):
            parts.append(each)
        elif isinstance(each, str):
            parts.append(escape(each, quote=False))
        else:
            parts.append(joined(*each))
    return Html("".join(parts))


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Html]],
    *,
    text_columns: int = 1,
    class_: str | None = None,
) -> Html:
    """A table with a caption, heads and row heads that a screen reader knows. The first `text_columns` are
    words, the rest are figures on the right."""

    def side(at: int) -> str | None:
        return None if at < text_columns else "figure"

    rows = list(rows)
    head = tag("tr", [tag("th", each, scope="col", class_=side(at)) for at, each in enumerate(heads)])
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            [tag("td", each, class_=side(at)) for at, each in enumerate(row[1:], 1)],
        )
        for row in rows
    ]
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body), class_=class_)
    whole = "scroll keep" if len(rows) <= KEPT_ROWS_MAX else "scroll"
    return tag("div", inner, class_=whole, tabindex="0", role="region", aria_label=caption)


def facts(pairs: Iterable[tuple[str, str | Html]]) -> Html:
    """Terms and what they are."""
    return tag("dl", [tag("div", tag("dt", term), tag("dd", said)) for term, said in pairs], class_="facts")


def section(title: str, *content: Content, class_: str | None = None) -> Html:
    """A part of the report under its heading."""
    return tag("section", tag("h2", title), *content, class_=class_)


def note(*content: Content, kind: str = "note") -> Html:
    """A paragraph that stands apart."""
    return tag("p", *content, class_=kind)
