"""What the log says, read from the code, and the table of docs/operations.md that says what to do then."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import agent

ROOT = Path(agent.__file__).parent
LEVELS = {"warning", "error", "critical", "exception"}
# Said to whoever typed a command, not to the log of the service.
ELSEWHERE = ("commands", "demo")
OPEN = "\0"  # what is put in when it is said


def text_of(node: ast.AST) -> str | None:
    """A literal or an f-string, OPEN for what is not known; None: said by somebody else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-+.\d]*[a-z]", OPEN, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(each.value if isinstance(each, ast.Constant) else OPEN for each in node.values)
    if isinstance(node, ast.BinOp):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None or right is None else left + right
    return None


def said() -> Iterator[tuple[str, str]]:
    """File and text of all that the service says at WARNING or above; of an `Episode`, its subject."""
    for file in sorted(ROOT.rglob("*.py")):
        place = file.relative_to(ROOT)
        if place.parts[0] in ELSEWHERE:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            function = node.func
            if isinstance(function, ast.Attribute) and function.attr in LEVELS and _is_log(function.value):
                first = node.args[0]
            elif isinstance(function, ast.Name) and function.id == "Episode" and len(node.args) > 1:
                first = node.args[1]
            else:
                continue
            if isinstance(first, ast.Name):
                first = names.get(first.id, first)
            text = text_of(first)
            if text is not None:
                yield f"{place}:{node.lineno}", text


def _is_log(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("log", "_log", "logger")


def rows() -> list[str]:
    """The patterns of the table, one for each piece between backquotes in its first column."""
    text = (ROOT.parent / "docs/operations.md").read_text(encoding="utf-8")
    table = text.partition("| the log says | do |")[2].partition("\n\n")[0]
    firsts = [row.split("|")[1] for row in table.splitlines() if row.startswith("|")]
    return [piece for first in firsts for piece in re.findall(r"`([^`]+)`", first)]


def parts_of(pattern: str) -> list[str]:
    """What is the same each time: `line NAME: ... MB` has words in capitals and dots for what is not."""
    parts = re.split(r"\.\.\.|\b(?!MB\b|HTTP\b)[A-Z]{2,}\b", pattern)
    return [part for part in parts if part.strip(" :,")]


def matches(pattern: str, text: str) -> bool:
    """Whether `text` begins as `pattern` says."""
    words = re.split(r"\.\.\.|\b(?!MB\b|HTTP\b)[A-Z]{2,}\b", pattern)
    return re.match(".*".join(map(re.escape, words)), text) is not None or pattern.startswith(f"{text}: ")


def unlisted() -> list[str]:
    """What the service says and the table does not know."""
    table = rows()
    return [f"{place}: {text!r}" for place, text in said() if not any(matches(row, text) for row in table)]


def unsaid() -> list[str]:
    """What the table lists and nothing says."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in ROOT.rglob("*.py")]
    subjects = {text for _, text in said()}
    known = OPEN.join(filter(None, (text_of(each) for tree in trees for each in ast.walk(tree))))
    wrong = []
    for row in rows():
        subject = next((each for each in subjects if row.startswith(f"{each}: ")), "")
        if not all(part.strip() in known for part in parts_of(row.removeprefix(f"{subject}: "))):
            wrong.append(row)
    return wrong
