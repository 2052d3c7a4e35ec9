"""The analyses at work: history becomes readings of the device `analysis`, in a process of its own.

The agent's side is small and knows no numpy: `options` (what may be set), `meters` (which points are what),
`plan` (what the child is told), `points` (what is published), `job` (starts the child, publishes what it
says). The child's side (`child`) reads the store without writing to it, and keeps what it made in
`analysis.db` (`book`), so that each run reads only what is new.
"""

from agent.analysis.site.job import Analyses, Doors, Place
from agent.analysis.site.options import AnalysisOptions, MeterOptions, analysis_faults, built_in_jobs

__all__ = [
    "Analyses",
    "AnalysisOptions",
    "Doors",
    "MeterOptions",
    "Place",
    "analysis_faults",
    "built_in_jobs",
]
