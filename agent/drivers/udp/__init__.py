"""UDP telemetry modules: docs/udp-protocol.md says what travels, the modules here what is done with it."""

from agent.drivers.udp.driver import UdpModules
from agent.drivers.udp.options import UdpDeviceOptions, UdpOptions, UdpProfile, module_faults

__all__ = ["UdpDeviceOptions", "UdpModules", "UdpOptions", "UdpProfile", "module_faults"]
