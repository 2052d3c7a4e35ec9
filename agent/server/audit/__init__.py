"""Who did what, from where: kept, bounded, chained, and watched for bursts of refusals."""

from agent.server.audit.journal import AUDIT_FILE, Audit, Entry, Query
from agent.server.audit.watch import CLIMBING, Alarm, Watch

__all__ = ["AUDIT_FILE", "CLIMBING", "Alarm", "Audit", "Entry", "Query", "Watch"]
