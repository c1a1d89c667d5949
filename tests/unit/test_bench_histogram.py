"""Percentiles in fixed memory against those of the values themselves, and the sums of a tally."""

import math

import numpy as np
import pytest

from service.cli.bench.histogram import Histogram
from service.cli.bench.tally import PERCENTILES, Tally
from service.cli.bench.workloads import parse


@pytest.mark.parametrize("scale", [1e-4, 0.03, 20.0])
def test_percentiles_are_right_to_half_a_per_cent(scale: float) -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 5000) * scale
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = np.sort(values)[[2499, 4499, 4949, 4994]]
    assert [histogram.percentile(percent) for percent in PERCENTILES] == pytest.approx(exact, rel=0.0051)
    assert (histogram.count, histogram.max_s) == (5000, values.max())
    assert histogram.total_s == pytest.approx(values.sum())


def test_the_extremes_have_their_bucket_and_nothing_has_no_percentile() -> None:
    histogram = Histogram()
    assert math.isnan(histogram.percentile(99))
    for value in (0.0, 1e-9, 1e9):
        histogram.record(value)
    assert histogram.count == 3
    assert histogram.percentile(1) < 1e-4
    assert histogram.percentile(100) > 1e4


def test_a_tally_tells_good_from_late_and_errors_by_kind() -> None:
    first, second = Tally(target_s=0.1), Tally(target_s=0.1)
    first.record(0.05, None)
    first.record(0.2, None)
    second.record(0.01, "503 overloaded")
    second.record(0.03, None)
    first.add(second)
    summary = first.summary(seconds=2.0)
    assert (summary["sent"], summary["answered"]) == (4, 3)
    assert (summary["throughput_per_s"], summary["goodput_per_s"]) == (1.5, 1.0)
    assert summary["latency_ms"]["max"] == 200
    assert summary["errors"]["503 overloaded"]["count"] == 1
    assert summary["errors"]["503 overloaded"]["latency_ms"]["p99"] == pytest.approx(10, rel=0.01)


def test_a_mix_is_names_with_weights() -> None:
    assert parse("tokenize=4,text") == {"tokenize": 4, "text": 1}


@pytest.mark.parametrize("mix", ["", "sing", "text=0", "text=-1", "text=inf", "text=nan", "text=x"])
def test_anything_else_is_refused(mix: str) -> None:
    with pytest.raises(ValueError, match=r"workload|weight|could not convert"):
        parse(mix)
