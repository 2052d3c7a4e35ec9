"""The page: files of this package, read once; nothing else can be asked for by path."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import PurePath

from aiohttp import hdrs, web

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class File:
    """One file of the page, as a handler."""

    def __init__(self, name: str, content: bytes) -> None:
        self._content, self._type = content, _TYPES[PurePath(name).suffix]
        self._etag = hashlib.sha256(content).hexdigest()[:32]

    async def serve(self, request: web.Request) -> web.Response:
        """The file, or 304 for who has this very one."""
        headers = {hdrs.ETAG: f'"{self._etag}"', hdrs.CACHE_CONTROL: "no-cache"}
        if any(tag.value == self._etag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._content, content_type=self._type, charset="utf-8", headers=headers)


def routes() -> list[web.RouteDef]:
    """`/` is index.html; the rest of the page lies under `/page/`."""
    folder = resources.files("agent.server") / "page"
    files = {
        each.name: File(each.name, each.read_bytes())
        for each in folder.iterdir()
        if PurePath(each.name).suffix in _TYPES
    }
    index = files.pop("index.html")
    return [
        web.get("/", index.serve),
        *(web.get(f"/page/{name}", file.serve) for name, file in sorted(files.items())),
    ]
