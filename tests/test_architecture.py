"""Who may import whom, read from the source: the tree shows the architecture, this keeps it so."""

import ast
from pathlib import Path

import agent

ROOT = Path(agent.__file__).parent

# What each part may use, besides itself. Longer names win ("server" covers "server.app").
ALLOWED = {
    "": set(),
    "model": set(),
    "schema": set(),
    "supervise": set(),
    "database": {"supervise"},
    "hub": {"model"},
    "dispatch": {"model", "supervise", "drivers"},
    "intake": {"drivers"},
    "mdns": {"supervise"},
    "lan": {
        "",
        "clock",
        "config",
        "configuring",
        "dispatch",
        "intake",
        "lines",
        "mdns",
        "scanning",
        "server",
        "tls",
    },
    "scanning": {"commissioning", "drivers", "lines", "schema", "server"},
    "store": {"apart", "model", "schema", "supervise", "database"},
    "drivers": {"model", "schema", "supervise"},
    "commissioning": {"model", "schema", "supervise", "drivers"},
    "control": {"model", "schema"},
    "control.site": {
        "apart",
        "database",
        "model",
        "schema",
        "supervise",
        "dispatch",
        "localtime",
        "tariff",
    },
    "uplink": {"model", "schema", "supervise", "store", "hub", "dispatch"},
    "centre": {"alarms", "model", "schema", "supervise", "uplink"},
    "localtime": set(),
    "tariff": {"model", "schema", "localtime"},
    "analysis": {"model", "schema", "localtime"},
    "analysis.site": {"model", "schema", "localtime", "hub", "store", "schedule", "tariff", "confined"},
    "commands.control": {"control", "control.site"},
    "commands.job": {"analysis.site", "config", "plugins", "schedule"},
    "commands.plugin": {"config", "plugins", "schedule", "schema", "store"},
    "commands.control_history": {"control", "control.site", "config", "schema"},
    "commands.report": {"analysis", "config", "reports", "schema", "store"},
    "commands.report_asked": {"analysis", "analysis.site", "config", "model", "schema"},
    "commands.report_facts": {"", "config", "drivers", "reports"},
    "commands.report_made": {
        "analysis",
        "analysis.site",
        "config",
        "control",
        "control.site",
        "localtime",
        "reports",
        "store",
        "tariff",
    },
    "commands.tariff": {"tariff", "schema", "config", "localtime"},
    # What computes and draws; `options` and `shelf` alone are for the agent's own process.
    "reports": {
        "",
        "analysis",
        "commissioning",
        "control",
        "control.site",
        "localtime",
        "model",
        "schedule",
        "schema",
        "tariff",
    },
    "alarms": {"model", "schema", "supervise", "database"},
    "alarming": {"alarms", "centre", "clock", "config", "hub", "model", "supervise", "uplink"},
    "apart": set(),
    "clock": set(),
    "client": {"supervise"},
    "logs": set(),
    "notify": {"supervise"},
    "signs": {"store"},
    "status_file": set(),
    "deploy": {"schema", "status_file", "database"},
    "doctor": {"clock", "config", "deploy", "schema", "status_file", "supervise", "uplink"},
    "timekeeping": {"model", "supervise", "clock", "hub", "store"},
    "health": {"model", "clock", "hub", "store", "drivers", "uplink"},
    "export": {"model", "store", "localtime", "confined", "supervise"},
    "server": {
        "",
        "private",
        "tls",
        "alarms",
        "schedule",
        "export",
        "model",
        "schema",
        "supervise",
        "database",
        "hub",
        "store",
        "dispatch",
        "intake",
        "reports",
    },
    "reporting": {"model", "reports", "schedule"},
    "confined": set(),
    "private": set(),
    "tls": {"private"},
    "schedule": {"model", "schema", "supervise", "database", "hub", "confined"},
    "plugins": {"model", "schema", "hub", "store", "dispatch", "schedule", "confined"},
    "config": {
        "logs",
        "schema",
        "alarms",
        "analysis.site",
        "control",
        "drivers",
        "server",
        "tls",
        "store",
        "tariff",
        "uplink",
        "schedule",
        "plugins",
        "reports",
    },
    "lines": {"model", "supervise", "hub", "dispatch", "drivers"},
    "configuring": {"config", "drivers", "schema", "server"},
    "field": {
        "",
        "lines",
        "clock",
        "config",
        "control.site",
        "dispatch",
        "drivers",
        "hub",
        "model",
    },
    "forwarding": {"", "centre", "config", "field", "store", "supervise", "uplink"},
    "scheduling": {
        "alarms",
        "analysis.site",
        "clock",
        "config",
        "field",
        "hub",
        "plugins",
        "reporting",
        "schedule",
        "store",
    },
    "service": {
        "field",
        "forwarding",
        "lan",
        "lines",
        "alarming",
        "alarms",
        "clock",
        "timekeeping",
        "config",
        "control.site",
        "drivers",
        "health",
        "hub",
        "notify",
        "reporting",
        "scanning",
        "schedule",
        "scheduling",
        "server",
        "signs",
        "status_file",
        "store",
        "supervise",
        "uplink",
    },
    "demo": {"model", "schema", "drivers", "control"},
    "demo.run": {"config", "server", "service"},
    "commands.doctor": {"deploy", "doctor"},
    "commands.service": {"", "config", "deploy", "status_file"},
    "sheltered": {"config", "field", "notify", "service", "store"},
    "commands.agent": {"config", "demo.run", "logs", "private", "sheltered", "tls"},
    "commands": {
        "client",
        "database",
        "model",
        "schema",
        "store",
        "supervise",
        "hub",
        "drivers",
        "commissioning",
        "centre",
        "uplink",
        "health",
        "config",
        "private",
        "server",
        "service",
        "demo.run",
    },
    "cli": {"", "commands", "schema", "server"},
    "__main__": {"cli"},
}


def part_of(module: str) -> str:
    """`agent.store.layout` belongs to `store`."""
    name = module.removeprefix("agent").removeprefix(".")
    while name and name not in ALLOWED:
        name = name.rpartition(".")[0]
    return name


def imports_of(file: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "agent")
    return modules


def test_nobody_reaches_up() -> None:
    wrong = []
    for file in ROOT.rglob("*.py"):
        module = ".".join(("agent", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        part = part_of(module)
        for used in imports_of(file):
            if used.split(".")[0] != "agent":
                continue
            other = part_of(used)
            same_root = part.split(".")[0] == other.split(".")[0]
            if other != part and not same_root and other not in ALLOWED[part]:
                wrong.append(f"{module} uses {used}")
    assert not wrong


def test_only_the_demo_knows_the_demo_broker() -> None:
    users = [file for file in ROOT.rglob("*.py") if any(m.startswith("amqtt") for m in imports_of(file))]
    assert all(file.parent.name == "demo" for file in users)


def test_files_stay_readable() -> None:
    long = {
        str(file.relative_to(ROOT)): count
        for file in ROOT.rglob("*.py")
        if (count := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
