"""The WebSocket as an AsyncAPI 3.0 document, made from the very types that validate it. Pure."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agent.server.messages import ANSWERS, PROTOCOL, VERSION, Request

_SCHEMAS = "#/components/schemas/"


def document() -> dict[str, Any]:
    """The whole of it, for JSON."""
    requests: tuple[type[BaseModel], ...] = get_args(get_args(Request)[0])
    sides = {"asked": requests, "answered": ANSWERS}
    said = {side: {model.__name__: _message(model) for model in models} for side, models in sides.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "UICPS Edge Agent, WebSocket",
            "version": f"{VERSION}",
            "description": "See docs/websocket.md.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "ws": {
                "address": "/ws",
                "messages": said["asked"] | said["answered"],
                "bindings": {"ws": {"method": "GET"}},
                "description": f"Subprotocol {PROTOCOL}.",
            }
        },
        "operations": {
            "ask": _operation("receive", said["asked"]),
            "answer": _operation("send", said["answered"]),
        },
        "components": {"schemas": _schemas((*requests, *ANSWERS))},
    }


def _message(model: type[BaseModel]) -> dict[str, Any]:
    about = {"summary": " ".join(model.__doc__.split())} if model.__doc__ else {}
    return {"name": model.__name__, "payload": {"$ref": _SCHEMAS + model.__name__}, **about}


def _operation(action: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/ws"},
        "messages": [{"$ref": f"#/channels/ws/messages/{name}"} for name in messages],
    }


def _schemas(models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=_SCHEMAS + "{model}"
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas
