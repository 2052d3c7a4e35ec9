"""Electricity tariffs of Brazil as dated data files, and what a site pays under one.

`load` finds a tariff by its id; `posts`, `prices` and `demand_terms` are what an optimiser asks;
`usage` and `bill` are what a report asks. All of it is pure: arrays in, frozen dataclasses out.
"""

from agent.tariff.bill import Bill, Item, bill, forecast_bill
from agent.tariff.demand import DemandTerm, demand_cost_brl, demand_terms
from agent.tariff.posts import POSTS, Post, post_codes
from agent.tariff.prices import prices
from agent.tariff.reactive import ReactiveExcess, reactive_excess
from agent.tariff.tariff import BUILT_IN, Tariff, known, load, load_file
from agent.tariff.usage import Usage, joined, usage

__all__ = [
    "BUILT_IN",
    "POSTS",
    "Bill",
    "DemandTerm",
    "Item",
    "Post",
    "ReactiveExcess",
    "Tariff",
    "Usage",
    "bill",
    "demand_cost_brl",
    "demand_terms",
    "forecast_bill",
    "joined",
    "known",
    "load",
    "load_file",
    "post_codes",
    "prices",
    "reactive_excess",
    "usage",
]
