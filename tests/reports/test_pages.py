"""The texts, the files: whole, escaped, the same for the same input, in both languages; as they print."""

from __future__ import annotations

import asyncio
import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from agent.reports.markup import Html, tag
from agent.reports.options import LANGUAGES
from agent.reports.words import Words, texts
from tests.reports.places import SAO_PAULO, fill, ms, site

SOURCE = Path(__file__).parents[2] / "agent" / "reports"
LOST = (ms(2026, 11, 12, 2), ms(2026, 11, 12, 5))
VOID = {"meta", "br", "hr", "rect", "line", "path", "circle"}


class Whole(HTMLParser):
    """Every tag that begins ends, in order; what could fetch or run is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.text = ""

    def handle_starttag(self, name: str, attributes: Sequence[tuple[str, str | None]]) -> None:
        if name not in VOID:
            self.open.append(name)
        for key, value in attributes:
            if name in ("script", "link", "iframe", "object", "img") or key.startswith("on"):
                self.faults.append(f"{name} {key}")
            if key in ("src", "href") or (value and "://" in value and key != "xmlns"):
                self.faults.append(f"{name} {key}={value}")

    def handle_endtag(self, name: str) -> None:
        if name not in VOID and (not self.open or self.open.pop() != name):
            self.faults.append(f"</{name}>")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All reports of a site in both languages, an energy report of an open month among them."""
    folder = tmp_path_factory.mktemp("site")
    file = site(folder, '[tariff]\nid = "exemplo-verde"\n[[meter]]\nname = "main-meter"\nnominal_v = 127.0\n')
    asyncio.run(
        fill(folder / "data" / "readings.db", ms(2026, 10, 25), ms(2026, 11, 17), every_s=300, lost=[LOST])
    )
    return file


def make(file: Path, out: Path) -> Path:
    for kind, *more in (
        ("power-quality", "--from=2026-11-09", "--to=2026-11-16"),
        ("energy", "--month=2026-11"),
        ("energy", "--month=2026-10"),
        ("commissioning",),
    ):
        languages = [f"--lang={each}" for each in LANGUAGES]
        command = [sys.executable, "-m", "agent", "report", kind, str(file), "--out", str(out)]
        subprocess.run([*command, *more, *languages], check=True, capture_output=True)
    return out


def test_every_file_is_whole_by_itself_and_says_no_key_or_nan(made: Path, tmp_path: Path) -> None:
    out = make(made, tmp_path / "out")
    assert len(list(out.iterdir())) == 4 * 2 * 2
    for file in out.glob("*.html"):
        parsed = Whole()
        parsed.feed(body := file.read_text(encoding="utf-8"))
        parsed.close()
        assert parsed.faults == [], file.name
        assert parsed.open == [], file.name
        assert not re.search(r"\bnan\b|\binf\b|None|undefined|\{\w+\}", parsed.text.partition("}}")[2])
        assert "url(" not in body
        assert "@import" not in body
        assert "Quadro geral &lt;QGBT&gt; &amp; bloco A" in body
    for file in out.glob("*.csv"):
        mark = ";" if "pt-BR" in file.name else ","
        head, *rows = csv.reader(file.read_text(encoding="utf-8-sig").splitlines(), delimiter=mark)
        assert rows
        assert {len(row) for row in rows} == {len(head)}, file.name


def test_the_same_input_makes_the_same_bytes(made: Path, tmp_path: Path) -> None:
    first, second = make(made, tmp_path / "first"), make(made, tmp_path / "second")
    names = sorted(each.name for each in first.iterdir())
    assert names == sorted(each.name for each in second.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


async def test_chromium_shows_and_prints_both_languages(made: Path, tmp_path: Path) -> None:
    out = await asyncio.to_thread(make, made, tmp_path / "out")
    program = shutil.which("chromium")
    assert program, "chromium is missing: make test installs it, or apt-get install chromium"
    said: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        for width in (390, 1180):
            page = await browser.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: said.extend([request.url] * ("file:" not in request.url)))
            for file in sorted(out.glob("*.html")):
                await page.goto(file.as_uri())
                wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, (file.name, width)
                pdf = await page.pdf(prefer_css_page_size=True)
                assert 2 <= len(re.findall(rb"/Type ?/Page\b", pdf)) <= 6, file.name
        await browser.close()
    assert said == []


def test_both_languages_have_the_same_texts_with_the_same_blanks() -> None:
    portuguese, english = (texts(each) for each in LANGUAGES)
    assert list(portuguese) == list(english)
    for key, text in portuguese.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", english[key])), key


def test_every_text_that_is_asked_for_is_there_and_none_is_left_over() -> None:
    code = "".join(each.read_text(encoding="utf-8") for each in SOURCE.glob("*.py"))
    facts = (SOURCE.parent / "commands" / "report_facts.py").read_text(encoding="utf-8")
    known = set(texts("en"))
    assert set(re.findall(r'\bt\(\s*"(\w+)"', code)) - {"_"} <= known
    said = set(re.findall(r"""["'](\w+)["']""", code + facts))
    computed = tuple(each for each in re.findall(r'f"(\w+_)\{', code))
    assert {each for each in known - said if not each.startswith(computed)} == set()


@pytest.mark.parametrize(
    ("language", "value", "expected"),
    [("pt-BR", 1234567.891, "1.234.567,9\u00a0kWh"), ("en", 1234567.891, "1,234,567.9\u00a0kWh"),
     ("en", -0.04, "0.0\u00a0kWh"), ("pt-BR", -2.5, "−2,5\u00a0kWh"), ("en", float("nan"), "–")],
)  # fmt: skip
def test_numbers_are_written_as_the_language_does(language: str, value: float, expected: str) -> None:
    assert Words(language, SAO_PAULO).number(value, 1, "kWh") == expected  # type: ignore[arg-type]


def test_nothing_gets_round_the_escaping() -> None:
    found = tag("p", '<script>"&', Html("<b>x</b>"), title='" onload="x')
    assert found == '<p title="&quot; onload=&quot;x">&lt;script&gt;"&amp;<b>x</b></p>'


def test_the_running_agent_knows_reports_without_what_makes_them() -> None:
    code = (
        "import sys, agent.reporting; assert 'numpy' not in sys.modules; "
        "import agent.server.reports; "
        "print(*[m for m in sys.modules if m.startswith('agent.reports.')])"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert set(said.split()) == {f"agent.reports.{each}" for each in ("options", "shelf", "wish")}
