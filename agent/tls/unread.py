"""Importing without the system's authorities."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

PLACES = {"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/dev/null"}


@contextmanager
def authorities_unread() -> Iterator[None]:
    """While this is open, a default context trusts nobody.

    aiohttp makes one when it is imported: the certificates of all authorities of the system, 2.3 MB, for who
    names no context of his own. We always name one; who forgot to would be refused, not let through.
    """
    before = {name: os.environ.get(name) for name in PLACES}
    os.environ.update(PLACES)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
