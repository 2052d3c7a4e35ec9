"""By which names and addresses others reach this box (Linux)."""

from __future__ import annotations

import fcntl
import ipaddress
import re
import socket
import struct
from pathlib import Path

NAMES_MAX = 64
_SIOCGIFADDR = 0x8915
_IF_INET6 = Path("/proc/net/if_inet6")
_INTERFACES = Path("/sys/class/net")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def names_of_this_box() -> list[str]:
    """Host names first, then the addresses of all interfaces; never empty."""
    host = socket.gethostname().lower().partition(".")[0]
    names = [host, f"{host}.local"] if _LABEL.fullmatch(host) and host != "localhost" else []
    found = ["localhost", *names, "127.0.0.1", "::1", *_ipv4(), *_ipv6()]
    return list(dict.fromkeys(found))[:NAMES_MAX]


def host_name() -> str:
    """The box's own, without a domain."""
    host = socket.gethostname().lower().partition(".")[0]
    return host if _LABEL.fullmatch(host) else "uicps"


def reachable_addresses(host: str) -> list[str]:
    """The IPv4 addresses at which others reach what listens at `host`."""
    found = [each for each in _ipv4() if not ipaddress.ip_address(each).is_loopback]
    return found if host in ("0.0.0.0", "::", "") else [each for each in found if each == host]  # noqa: S104


def _ipv4() -> list[str]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for interface in _interfaces():
            request = struct.pack("256s", interface.encode()[:15])
            try:
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, request)
            except OSError:  # it has none
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _interfaces() -> list[str]:
    """From /sys: asking the kernel by netlink is what a hardened service may not do."""
    try:
        return sorted(each.name for each in _INTERFACES.iterdir())
    except OSError:
        return []


def _ipv6() -> list[str]:
    """Without link-local ones: a URL cannot name them in a browser."""
    try:
        lines = _IF_INET6.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    addresses = [ipaddress.IPv6Address(bytes.fromhex(line.split()[0])) for line in lines]
    return [str(address) for address in addresses if not address.is_link_local]


def normal(name: str) -> str:
    """`fd00::0002` as `fd00::2`, `Caixa.Exemplo` as `caixa.exemplo`, `ção.lan` as `xn--...`."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.encode("idna").decode("ascii").lower().removesuffix(".")
