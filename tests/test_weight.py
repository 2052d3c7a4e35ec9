"""What the running agent loads: on a small box, a library is a megabyte or ten for ever."""

from __future__ import annotations

import json
import subprocess
import sys

# What the agent with everything on may have loaded when it starts. Who adds one: must it be there always?
# What is used now and then is imported where it is used, or runs in a process of its own (jobs, plug-ins,
# `agent.control.apart`, `agent.tls.certificates`).
LIBRARIES = {
    *("aiohappyeyeballs", "aiohttp", "aiomqtt", "aiosignal", "aiosqlite", "annotated_types"),
    *("apscheduler", "argon2", "attr", "attrs", "dateutil", "frozenlist", "holidays", "idna", "jwt"),
    *("multidict", "numpy", "orjson", "paho", "propcache", "pydantic", "pydantic_core", "pyotp", "serial"),
    *("six", "typing_extensions", "typing_inspection", "tzlocal", "uvloop", "yarl"),
}
ONLY_WITH_ROOMS = {"dateutil", "holidays", "six"}
PROBE = """
import json, sys
import agent.commands.agent, agent.service
{more}
def third_party(module):
    file = getattr(module, "__file__", None) or ""
    return "site-packages" in file and "/_" not in file.partition("site-packages")[2][:2]
print(json.dumps(sorted({{name for name, module in list(sys.modules.items()) if third_party(module)}})))
"""


def loaded(more: str = "") -> set[str]:
    words = (sys.executable, "-c", PROBE.format(more=more))
    return set(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))


def libraries(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_agent_starts_with_no_more_than_it_needs() -> None:
    assert libraries(loaded()) - (LIBRARIES - ONLY_WITH_ROOMS) == set()


def test_control_loads_one_country_and_no_solver() -> None:
    found = loaded("import agent.control.site, agent.tariff.calendar as c; assert 'SP' in c.STATES")
    assert libraries(found) - LIBRARIES == set()
    assert {name for name in found if name.startswith("holidays.countries.")} == {"holidays.countries.brazil"}
