"""The schema of readings.db as numbered files."""
