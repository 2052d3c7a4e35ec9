"""Jobs: what runs at its time, in a process of its own, and is never in anyone's way."""

from agent.schedule.job import Alert, Job, Outcome, Result, Turn, Work
from agent.schedule.jobs import JobRefused, Jobs
from agent.schedule.options import JobOptions, When
from agent.schedule.runs import JOBS_FILE, Run, Runs

__all__ = [
    "JOBS_FILE",
    "Alert",
    "Job",
    "JobOptions",
    "JobRefused",
    "Jobs",
    "Outcome",
    "Result",
    "Run",
    "Runs",
    "Turn",
    "When",
    "Work",
]
