"""UICPS Edge Agent: the on-site energy gateway."""

__version__ = "0.1.0"
