"""The schema of identity.db as numbered files."""
