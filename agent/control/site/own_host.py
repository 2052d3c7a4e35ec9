"""`python own_host.py FILE CLASS`: hosts a site's own controller, a line in, a line out.

Imports nothing of ours. Ends when its stdin does. What the controller prints goes to standard error, where
the log is.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any


def main() -> None:
    """Answer questions until there are none."""
    file, name = sys.argv[1:3]
    answers, sys.stdout = sys.stdout, sys.stderr
    controller = getattr(_loaded(file), name)()
    for line in sys.stdin:
        print(json.dumps(_answer(controller, json.loads(line))), file=answers, flush=True)


def _loaded(file: str) -> Any:
    spec = importlib.util.spec_from_file_location("own_controller", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _answer(controller: Any, question: dict[str, Any]) -> dict[str, Any]:
    wish = controller.wish(question["now_ms"], question["seen"], question["outlook"])
    if wish is None:
        return {"fault": "it wants nothing"}
    on, setpoint_c, reason = wish
    return {"on": bool(on), "setpoint_c": float(setpoint_c), "reason": str(reason)}


if __name__ == "__main__":
    main()
