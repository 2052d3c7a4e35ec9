"""What energy cost at any instants of the past, under the site's tariff as it stands in the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.control.options import TariffOptions
from agent.localtime import Floats, Ints
from agent.tariff import load
from agent.tariff.prices import prices_at


def price_at(options: TariffOptions, folders: Sequence[Path], times_ms: Ints) -> Floats:
    """R$/kWh at each of `times_ms`. FaultyFile if there is no such tariff."""
    if not options.id:
        return np.full(len(times_ms), options.price_brl_kwh)
    return prices_at(load(options.id, folders), times_ms)
