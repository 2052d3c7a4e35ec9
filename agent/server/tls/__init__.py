"""HTTPS on the LAN: an authority and a certificate of the box's own, or those it was given."""

from agent.server.tls.addresses import names_of_this_box
from agent.server.tls.authority import Certificates, TlsError, own_context

__all__ = ["Certificates", "TlsError", "names_of_this_box", "own_context"]
