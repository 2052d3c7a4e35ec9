"""Looks at a box and says what is wrong, each finding with a way out. Changes nothing, opens no line."""

from agent.doctor.findings import Finding, Level

__all__ = ["Finding", "Level"]
