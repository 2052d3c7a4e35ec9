from __future__ import annotations

import json

import numpy as np
import pytest

from agent.analysis.anomaly import Normal, scores
from agent.analysis.forecast import LoadModel, expected_kw, fit_load
from agent.analysis.kept import from_json, to_json
from tests.analysis.test_anomaly import LEARN, SLOTS, normal_of, point
from tests.analysis.test_forecast import WEEK, shape, weeks


def there_and_back(kind: type, model: object) -> object:
    return from_json(kind, json.loads(json.dumps(to_json(model), allow_nan=False)))


def test_what_is_normal_survives() -> None:
    normal = normal_of(point())  # its rate is NaN: there were no counts
    again = there_and_back(Normal, normal)
    assert isinstance(again, Normal)
    judged = [scores(each, point()[LEARN:], SLOTS[LEARN:]).highest for each in (normal, again)]
    assert np.array_equal(*judged)
    assert again.z_limit == normal.z_limit


def test_a_load_model_survives_with_its_infinity() -> None:
    model = fit_load(shape(weeks(4)), weeks(4))
    assert model is not None
    assert model.balance_c == float("inf")
    again = there_and_back(LoadModel, model)
    assert isinstance(again, LoadModel)
    assert np.array_equal(expected_kw(again, WEEK), expected_kw(model, WEEK))


def test_what_another_version_kept_is_refused() -> None:
    kept = to_json(normal_of(point()))
    del kept["rate"]
    with pytest.raises(ValueError, match=r"expected .*rate.*, found"):
        from_json(Normal, kept)
