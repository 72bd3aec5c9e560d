"""Comparison of settings over seeds: mean and spread of each, and pairwise differences with confidence intervals."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fecnet.utils.errors import UserError
from fecnet.utils.table import align_columns

_MIN_SD = 1e-6  # metrics are rounded to 1e-4: a smaller deviation is a rounding error
CONFIDENCE = 0.95

BySeed = Mapping[int, float]  # value of a metric by the seed of the run


@dataclass(frozen=True)
class Difference:
    """Paired difference of two settings: both runs of a seed start from the same weights.

    Attributes:
        first: name of a setting.
        second: name of the setting it is compared with.
        by_seed: metric of ``first`` minus that of ``second``, for the common seeds.
        confidence: confidence level, 0..1, of the interval ``mean`` ± ``margin``.
        margin: half width of Student's t interval; None where there is no interval.
    """

    first: str
    second: str
    by_seed: dict[int, float]
    confidence: float
    margin: float | None

    @property
    def mean(self) -> float | None:
        """Mean difference over the seeds; None without a common seed."""
        return statistics.fmean(self.by_seed.values()) if self.by_seed else None

    @property
    def sd(self) -> float | None:
        """Standard deviation over the seeds (n − 1); None for fewer than two."""
        return standard_deviation(list(self.by_seed.values()))

    @property
    def verdict(self) -> str:
        """The result in words: a difference is reported only where the confidence interval excludes 0.

        The interval is written by its two ends, as ``±`` stands for the standard deviation in the same tables.
        """
        if self.mean is None or self.margin is None:
            return f"no verdict: {self._why_no_interval()}"
        if abs(self.mean) <= self.margin:
            return f"no difference shown (interval {_interval(self.mean, self.margin, '+')})"
        better, worse = (self.first, self.second) if self.mean > 0 else (self.second, self.first)
        by = abs(self.mean)
        return f"{better} better than {worse} by {by:.2f} (interval {_interval(by, self.margin)})"

    def to_dict(self) -> dict[str, Any]:
        """All attributes and the verdict, for JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "by_seed": {str(seed): round(value, 4) for seed, value in self.by_seed.items()},
            "mean": self.mean,
            "sd": self.sd,
            "confidence": self.confidence,
            "margin": self.margin,
            "verdict": self.verdict,
        }

    def _why_no_interval(self) -> str:
        if len(self.by_seed) < 2:
            return f"{len(self.by_seed)} common seed{'s' * (len(self.by_seed) != 1)}, an interval needs two or more"
        return "the difference is identical for all seeds, so there is no interval; use more seeds or more faces"


def standard_deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n − 1); None for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def compare_settings(metric: Mapping[str, BySeed]) -> list[Difference]:
    """The difference of each pair of settings.

    All intervals hold simultaneously with 95 % confidence (Bonferroni correction: each has an error rate of
    0.05 / number of pairs); otherwise one of many pairs would differ by chance.

    Args:
        metric: values by setting and seed; higher is better.

    Raises:
        UserError: scipy is absent.
    """
    pairs = list(itertools.combinations(metric, 2))
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(pairs))
    return [_difference(first, second, metric, confidence) for first, second in pairs]


def _difference(first: str, second: str, metric: Mapping[str, BySeed], confidence: float) -> Difference:
    common = sorted(metric[first].keys() & metric[second].keys())
    by_seed = {seed: metric[first][seed] - metric[second][seed] for seed in common}
    sd = standard_deviation(list(by_seed.values()))
    margin = None
    if sd is not None and (sd > _MIN_SD or not any(by_seed.values())):
        margin = student_t(confidence, len(common) - 1) * sd / math.sqrt(len(common))
    return Difference(first, second, by_seed, confidence, margin)


def student_t(confidence: float, freedom: int) -> float:
    """Two-sided quantile of Student's t distribution: half width of the interval in standard errors.

    Args:
        confidence: confidence level, 0..1.
        freedom: degrees of freedom.

    Raises:
        UserError: scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise UserError("comparing needs scipy; install it with: pip install 'fecnet[viz]'") from error
    return float(stats.t.ppf((1 + confidence) / 2, freedom))


def format_settings(metrics: Mapping[str, Mapping[str, BySeed]]) -> str:
    """An aligned table: a row per setting, mean ± sd over seeds of each column.

    Args:
        metrics: values by column, setting and seed; all columns have the same settings.
    """
    settings = list(next(iter(metrics.values())))
    heads = ["setting", "seeds", *metrics]
    rows = [
        [name, str(len(next(iter(metrics.values()))[name])), *(_mean_sd(column[name]) for column in metrics.values())]
        for name in settings
    ]
    return align_columns([heads, *rows])


def format_differences(differences: Sequence[Difference]) -> str:
    """An aligned table: a row per pair with mean, sd and verdict."""
    rows = [
        [f"{pair.first} − {pair.second}", _number(pair.mean, "+"), _number(pair.sd), pair.verdict]
        for pair in differences
    ]
    return align_columns([["difference", "mean", "sd", "verdict"], *rows], left=(0, 3))


def _mean_sd(by_seed: BySeed) -> str:
    values = list(by_seed.values())
    return f"{statistics.fmean(values):.2f} ± {_number(standard_deviation(values))}"


def _interval(mean: float, margin: float, sign: str = "") -> str:
    return f"{mean - margin:{sign}.2f} to {mean + margin:{sign}.2f}"


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"
