"""HTTPS on the LAN: an authority and a certificate of the box's own, or those it was given."""

from agent.tls.addresses import host_name, names_of_this_box, reachable_addresses
from agent.tls.certificates import Certificates
from agent.tls.context import TlsError, own_context

__all__ = ["Certificates", "TlsError", "host_name", "names_of_this_box", "own_context", "reachable_addresses"]
