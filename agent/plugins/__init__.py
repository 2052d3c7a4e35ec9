"""Other people's analyses and rules. What is named here is what a plug-in imports; see docs/plugins.md."""

from agent.plugins.author import (
    Alarm,
    History,
    Latest,
    Now,
    Progress,
    Publish,
    Refused,
    Seen,
    Series,
    Steps,
    Submit,
    plugin,
)

__all__ = [
    "Alarm",
    "History",
    "Latest",
    "Now",
    "Progress",
    "Publish",
    "Refused",
    "Seen",
    "Series",
    "Steps",
    "Submit",
    "plugin",
]
