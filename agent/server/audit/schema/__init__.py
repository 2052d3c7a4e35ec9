"""The schema of audit.db as numbered files."""
