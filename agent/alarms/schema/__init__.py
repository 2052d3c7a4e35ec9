"""The schema of alarms.db as numbered files."""
