"""What people read of alarms, in both languages (texts.toml)."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import Any

from agent.alarms.alarm import Alarm, Change, Priority, Words
from agent.alarms.rules import (
    DeviationRule,
    ExpressionRule,
    LimitRule,
    RateRule,
    Rule,
    StaleRule,
    StateRule,
)

RULE_CHARS_MAX = 120  # of an expression, in a text


@functools.cache
def _texts() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("texts.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _words(section: str, key: str, /, **filled: object) -> Words:
    found = _texts()[section][key]
    return Words(found["pt"].format(**filled), found["en"].format(**filled))


def of_limit(rule: LimitRule, level: str) -> Words:
    """The text of one level of a limit."""
    ours = _words("rule", level, point=rule.point, limit=f"{rule.limits[level]:g}")
    own = Words(*(text and f"{text} ({rule.limits[level]:g})" for text in (rule.text_pt, rule.text_en)))
    return _preferred(own, ours)


def of_rule(rule: Rule) -> Words:
    """The text of a rule that makes one alarm."""
    own = Words(rule.text_pt, rule.text_en)
    return _preferred(own, _of_rule(rule))


def _preferred(own: Words, ours: Words) -> Words:
    # Who wrote one language only reads that one in both, rather than a text of ours.
    return Words(own.pt or own.en or ours.pt, own.en or own.pt or ours.en)


def _of_rule(rule: Rule) -> Words:
    if isinstance(rule, RateRule):
        name = "rising" if rule.per_s > 0 else "falling"
        return _words("rule", name, point=rule.point, limit=f"{abs(rule.per_s):g}")
    if isinstance(rule, DeviationRule):
        return _words("rule", "deviation", point=rule.point, other=rule.other, limit=f"{rule.most:g}")
    if isinstance(rule, StaleRule):
        return _words("rule", "stale", point=rule.point, limit=f"{rule.after_s:g}")
    if isinstance(rule, StateRule):
        states = ", ".join(f"{state:g}" for state in rule.states)
        return _words("rule", "state", point=rule.point, limit=states)
    when = rule.when if isinstance(rule, ExpressionRule) else ""
    return _words("rule", "expression", limit=when[:RULE_CHARS_MAX])


def own_alarm(kind: str, name: str = "") -> Alarm:
    """An alarm of the agent's own: `kind` as in texts.toml; its id is `agent.<kind>[.<name>]`."""
    known = kind if kind in _texts()["own"] else "other"
    label = name if known == kind else f"{kind} {name}".strip()
    priority = Priority(_texts()["own"][known]["priority"])
    ident = f"agent.{kind}.{name}" if name else f"agent.{kind}"
    return Alarm(ident, _words("own", known, name=label), priority, "agent")


def change_word(change: Change, language: str) -> str:
    """What happened, in a word."""
    return _words("change", change).in_language(language)


def priority_word(priority: Priority, language: str) -> str:
    return _words("priority", priority).in_language(language)


def mail(name: str, language: str, /, **filled: object) -> str:
    """A piece of an e-mail."""
    return _words("mail", name, **filled).in_language(language)
