"""Alarms, in the words of ISA-18.2: rules over points, the agent's own troubles, and who is told of them."""

from agent.alarms.alarm import Alarm, Change, Event, Priority, State, Words
from agent.alarms.options import AlarmsOptions
from agent.alarms.registry import AlarmRefused, Alarms
from agent.alarms.rules import ALARMS_MAX, Rule, rule_faults
from agent.alarms.texts import own_alarm

__all__ = [
    "ALARMS_MAX",
    "Alarm",
    "AlarmRefused",
    "Alarms",
    "AlarmsOptions",
    "Change",
    "Event",
    "Priority",
    "Rule",
    "State",
    "Words",
    "own_alarm",
    "rule_faults",
]
