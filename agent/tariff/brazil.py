"""The `holidays` package with Brazil only.

Asked for one country, it loads all 250: 8 MB and most of a second on a small box. What loads them is the
package's list of countries, which we stand in for; the countries themselves are where they were.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import holidays

_LIST = "holidays.countries"

if _LIST not in sys.modules:
    _stand_in = ModuleType(_LIST)
    _stand_in.__path__ = [str(Path(holidays.__file__).parent / "countries")]
    sys.modules[_LIST] = _stand_in

__all__ = ["holidays"]
