"""Electricity tariffs of Brazil as dated data files, and what a site pays under one.

`load` finds a tariff by its id; so far no numpy is needed. What computes is taken from its module: `posts`,
`prices` and `demand` are what an optimiser asks, `usage`, `reactive` and `bill` what a report asks. All of it
is pure: arrays in, frozen dataclasses out.
"""

from agent.tariff.tariff import BUILT_IN, Tariff, known, load, load_file

__all__ = ["BUILT_IN", "Tariff", "known", "load", "load_file"]
