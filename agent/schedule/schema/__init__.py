"""The schema of jobs.db as numbered files."""
