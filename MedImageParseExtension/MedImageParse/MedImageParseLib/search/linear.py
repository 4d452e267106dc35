"""Logistic regression on vectors: scikit-learn where it is there, else SciPy's L-BFGS on the same objective.

Both minimize  strength * sum_i w_i loss_i + |W|^2 / 2,  the intercept free, for float64 numbers: two labels with one row of weights, more
with one a label (multinomial), findings that may stand beside one another with one row each. The minimum is unique, so both give the same
weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from ..packages import is_there

ENGINES = ("auto", "scikit-learn", "scipy")
Fit = tuple[np.ndarray, np.ndarray]  # float64 (rows of weights, length) and (rows of weights,)
LossOf = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray]]  # of raw values, truth and weights: loss and slope
_MOST_STEPS = 20_000
_FLAT = 1e-9  # largest slope of the mean loss at the minimum


def fit_classes(x: np.ndarray, y: np.ndarray, count: int, weights: np.ndarray, strength: float, engine: str = "auto") -> Fit:
    """Weights for labels that exclude one another.

    Args:
        x: float64 (rows, length).
        y: int (rows,), each of 0 … count - 1 at least once.
        count: of labels, at least 2.
        weights: float64 (rows,).
        strength: how much the examples count against small weights (scikit-learn's C).
        engine: one of ENGINES.

    Returns:
        float64 (rows of weights, length) and (rows of weights,); one row where there are two labels.
    """
    if _engine(engine) == "scikit-learn":
        return _by_sklearn(x, y, weights, strength)
    if count == 2:
        return _by_scipy(x, (y == 1).astype(float)[:, None], weights, strength, _logistic)
    return _by_scipy(x, np.eye(count)[y], weights, strength, _multinomial)


def fit_findings(x: np.ndarray, y: np.ndarray, weights: np.ndarray, strength: float, engine: str = "auto") -> Fit:
    """Weights for findings that may stand beside one another, a row each.

    Args:
        x: float64 (rows, length).
        y: bool (rows, findings), each column with both values.
        weights: float64 (rows, findings).
        strength: how much the examples count against small weights, as for `fit_classes`.
        engine: one of ENGINES.

    Returns:
        float64 (findings, length) and (findings,).
    """
    fits = [fit_classes(x, y[:, place].astype(int), 2, weights[:, place], strength, engine) for place in range(y.shape[1])]
    return np.concatenate([fit[0] for fit in fits]), np.concatenate([fit[1] for fit in fits])


def _engine(engine: str) -> str:
    return engine if engine != "auto" else "scikit-learn" if is_there("sklearn") else "scipy"


def _by_sklearn(x: np.ndarray, y: np.ndarray, weights: np.ndarray, strength: float) -> Fit:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps that are used up; the slope by then is far below what matters
        made = LogisticRegression(C=strength, tol=_FLAT, max_iter=_MOST_STEPS).fit(x, y, sample_weight=weights)
    return made.coef_, made.intercept_


def _by_scipy(x: np.ndarray, y: np.ndarray, weights: np.ndarray, strength: float, loss_of: LossOf) -> Fit:
    from scipy.optimize import minimize

    rows, length = y.shape[1], x.shape[1]
    scale = 1.0 / weights.sum()  # of a mean, so that "flat" means the same for any number of examples

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        matrix = flat.reshape(rows, length + 1)
        loss, slope = loss_of(x @ matrix[:, :-1].T + matrix[:, -1], y, weights)
        gradient = np.empty_like(matrix)
        gradient[:, :-1] = scale * (slope.T @ x) + matrix[:, :-1] * (scale / strength)
        gradient[:, -1] = scale * slope.sum(axis=0)
        return scale * loss + 0.5 * (scale / strength) * float(np.sum(matrix[:, :-1] ** 2)), gradient.ravel()

    options = {"maxiter": _MOST_STEPS, "maxfun": 2 * _MOST_STEPS, "gtol": _FLAT, "ftol": 64 * np.finfo(float).eps, "maxls": 50}
    found = minimize(objective, np.zeros(rows * (length + 1)), jac=True, method="L-BFGS-B", options=options).x
    matrix = found.reshape(rows, length + 1)
    return matrix[:, :-1].copy(), matrix[:, -1].copy()


def _logistic(raw: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and its slope for one row of weights."""
    loss = np.logaddexp(0.0, raw) - y * raw
    chance = np.exp(-np.logaddexp(0.0, -raw))
    return float(weights @ loss[:, 0]), weights[:, None] * (chance - y)


def _multinomial(raw: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    shifted = raw - raw.max(axis=1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = (total - (shifted * y).sum(axis=1, keepdims=True))[:, 0]
    return float(weights @ loss), weights[:, None] * (np.exp(shifted - total) - y)
