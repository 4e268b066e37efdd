"""How good a surrogate is: its error, and how well it orders (the three measures that ENCAS logs)."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def rank_measures(predicted: NDArray, true: NDArray) -> dict[str, float]:
    """Root mean squared error and the rank correlations of Spearman and Kendall (tau-b) of predicted, true (n,).

    The correlations are NaN where they are not defined: fewer than two points, or one side all equal.
    """
    predicted, true = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    measures = {"rmse": float(np.sqrt(np.mean((predicted - true) ** 2))) if len(true) else np.nan}
    defined = len(true) > 1 and np.ptp(predicted) > 0 and np.ptp(true) > 0
    measures["spearman"] = float(stats.spearmanr(predicted, true).statistic) if defined else np.nan
    measures["kendall"] = float(stats.kendalltau(predicted, true).statistic) if defined else np.nan
    return measures
