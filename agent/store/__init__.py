"""The log on disk: every reading, in the order it came; what an uplink has delivered; the history.

What is named here is loaded when it is asked for: who only reads history in a process of its own (`series`)
starts in a third of the time and memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.store.ledger import Ledger, LedgerRow
    from agent.store.options import StoreOptions
    from agent.store.store import Store

__all__ = ["Ledger", "LedgerRow", "Store", "StoreOptions"]

_PLACES = {"Ledger": "ledger", "LedgerRow": "ledger", "Store": "store", "StoreOptions": "options"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
