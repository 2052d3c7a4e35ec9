"""The log on disk: every reading, in the order it came; what an uplink has delivered; the history."""

from agent.store.ledger import Ledger, LedgerRow
from agent.store.options import StoreOptions
from agent.store.store import Store

__all__ = ["Ledger", "LedgerRow", "Store", "StoreOptions"]
