"""The box announces itself on the local network: DNS-SD over multicast DNS (RFC 6762, RFC 6763), IPv4.

Only as much of it as one service needs: the library for this, zeroconf, would cost 4 MB of memory. The tests
hold it to the library's browser.
"""

from agent.mdns.announcer import Announcer, Service

__all__ = ["Announcer", "Service"]
