"""The schema as numbered files; `PRAGMA user_version` says which of them a database has had."""

from __future__ import annotations

from importlib import resources

import aiosqlite


async def migrate(db: aiosqlite.Connection, folder: str = __name__) -> None:
    """Apply the files of `folder` that `db` has not had, in order, each whole or not at all.

    RuntimeError if the database is newer than this agent.
    """
    files = sorted(
        (file for file in resources.files(folder).iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    (version,) = next(iter(await db.execute_fetchall("PRAGMA user_version")))
    if version > len(files):
        raise RuntimeError(
            f"the database has schema {version}, this agent knows {len(files)}: "
            "install the newer agent again, or restore a backup made by this one"
        )
    for number, file in enumerate(files[version:], version + 1):
        script = file.read_text(encoding="utf-8")
        await db.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
