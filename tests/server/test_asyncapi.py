"""docs/asyncapi.json is what the types say; every message that any test hears is checked against those."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

from agent.server.asyncapi import document
from agent.server.messages import ANSWERS, REQUESTS, Request, parsed

DOCS = Path(__file__).parents[2] / "docs"


def test_the_document_is_true() -> None:
    """If it is not: python -m tests.server.test_asyncapi"""
    assert json.loads((DOCS / "asyncapi.json").read_text(encoding="utf-8")) == document()


def test_every_reference_leads_somewhere() -> None:
    whole = document()
    for pointer in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(whole))):
        found = whole
        for key in pointer.split("/"):
            found = found[key]
        assert found


def test_the_text_names_every_type_and_its_examples_are_messages() -> None:
    text = (DOCS / "websocket.md").read_text(encoding="utf-8")
    kinds = {
        get_args(model.model_fields["type"].annotation)[0]
        for model in (*get_args(get_args(Request)[0]), *ANSWERS)
    }
    assert {kind for kind in kinds if f'"{kind}"' not in text and f"`{kind}`" not in text} == set()
    for example in re.findall(r'`(\{"type": "(?!error|commands).*?\})` \|', text):
        said = json.loads(example.replace("[...]", '["*"]').replace("...", "1"))
        assert parsed(said)
    assert REQUESTS


if __name__ == "__main__":
    (DOCS / "asyncapi.json").write_text(
        json.dumps(document(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
