"""Plots, as scikit-learn's displays: made ``from_...`` what was fitted, drawn by ``plot``. Needs matplotlib."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from tabkd._compat import optional_import
from tabkd.scoring import name_of_score

__all__ = ["FrontierDisplay", "ParetoDisplay"]

_NAMES = {
    "latency": "latency of one row, µs",
    "size": "size of the file, KiB",
    "n_features": "columns",
    "cost": "cost of the columns",
}
_UNITS = {"size": 1 / 1024}


class ParetoDisplay:
    """Score of every trial of a search against what its student costs, the front marked.

    Parameters
    ----------
    trials : DataFrame
        One row per complete trial: ``score``, and ``cost`` by name.
    front : ndarray of bool of shape (n_trials,)
        Trials that no other beats in both.
    chosen : int or None
        Row of the trial that the search took.
    cost : {"latency", "size", "n_features"}
    score_name : str
        What the score is.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> from tabkd.plots import ParetoDisplay
    >>> ParetoDisplay.from_search(search, "latency").plot()  # doctest: +SKIP
    """

    def __init__(
        self, trials: pd.DataFrame, front: np.ndarray, chosen: int | None, cost: str, score_name: str = "score"
    ) -> None:
        self.trials = trials
        self.front = front
        self.chosen = chosen
        self.cost = cost
        self.score_name = score_name

    @classmethod
    def from_search(cls, search: Any, cost: str | None = None) -> Self:
        """Read a fitted ``DistillationSearchCV``.

        Parameters
        ----------
        search : DistillationSearchCV
            With more objectives than the score.
        cost : str, optional
            One of its objectives; the first after the score if left out.

        Returns
        -------
        ParetoDisplay

        Raises
        ------
        ValueError
            If the search has no such objective.
        """
        check_is_fitted(search)
        costs = [name for name in search.objectives if name != "score"]
        if not costs or (cost is not None and cost not in costs):
            raise ValueError(
                f"cost={cost!r} was not measured: the search has the objectives {list(search.objectives)!r}. Search "
                'with objectives=("score", "latency"), for one.'
            )
        cost = costs[0] if cost is None else cost
        results = search.cv_results_
        trials = pd.DataFrame({"score": results["mean_test_score"], cost: results[cost]})
        done = np.flatnonzero(trials.notna().all(axis=1))
        trials = trials.iloc[done].reset_index(drop=True)
        score, price = trials["score"].to_numpy(), trials[cost].to_numpy()
        beaten = (score[None] >= score[:, None]) & (price[None] <= price[:, None])
        beaten &= (score[None] > score[:, None]) | (price[None] < price[:, None])
        chosen = np.flatnonzero(done == search.best_index_)  # none where that is None
        front, row = np.logical_not(beaten.any(axis=1)), int(chosen[0]) if len(chosen) else None
        return cls(trials, front, row, cost, name_of_score(search.estimator.scoring, search.estimator))

    def plot(self, ax: Any = None) -> Self:
        """Draw; trials that score less than everything on the front are counted, and not drawn.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        ParetoDisplay
        """
        pyplot = optional_import("matplotlib.pyplot", needed_by="A plot", extra="plots")
        if ax is None:
            _, ax = pyplot.subplots(figsize=(6, 4), layout="constrained")
        x, y = self.trials[self.cost] * _UNITS.get(self.cost, 1), self.trials["score"]
        seen = ~self.front & (y >= y[self.front].min())
        below = int((~self.front & ~seen).sum())
        ax.scatter(
            x[seen], y[seen], s=18, color="0.7", label="beaten by another" + (f" ({below} more below)" if below else "")
        )
        order = np.argsort(x[self.front].to_numpy())
        ax.plot(
            x[self.front].to_numpy()[order], y[self.front].to_numpy()[order], "o-", ms=5, drawstyle="steps-post",
            color="C0", label="front",
        )  # fmt: skip
        if self.chosen is not None:
            ax.scatter(
                x[self.chosen], y[self.chosen], s=110, facecolors="none", edgecolors="C3", lw=1.5, label="chosen"
            )
        if self.cost != "n_features" and x.max() >= 4 * x.min() > 0:
            ax.set_xscale("log", base=2)
            ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel(_NAMES[self.cost])
        ax.set_ylabel(f"{self.score_name} (greater is better)")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class FrontierDisplay:
    """Score of a student against the number of columns that it reads, or against what they cost.

    Parameters
    ----------
    frontier : DataFrame
        As ``frontier_`` of a :class:`~tabkd.FeatureBudgetSelector`.
    chosen : int
        Row that was chosen.
    against : {"n_features", "cost"}
    score_name : str
        What the score is.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    """

    def __init__(self, frontier: pd.DataFrame, chosen: int, against: str, score_name: str = "score") -> None:
        self.frontier = frontier
        self.chosen = chosen
        self.against = against
        self.score_name = score_name

    @classmethod
    def from_selector(cls, selector: Any, against: str | None = None) -> Self:
        """Read a fitted ``FeatureBudgetSelector``.

        Parameters
        ----------
        selector : FeatureBudgetSelector
        against : {"n_features", "cost"}, optional
            Costs where it has any, else columns.

        Returns
        -------
        FrontierDisplay

        Raises
        ------
        ValueError
            If ``against`` is something else.
        """
        check_is_fitted(selector)
        if against not in (None, "n_features", "cost"):
            raise ValueError(f'against must be "n_features" or "cost", got {against!r}.')
        known = "n_features" if selector.costs is None else "cost"
        scoring = getattr(selector.estimator, "scoring", None) if selector.scoring is None else selector.scoring
        name = name_of_score(scoring, selector.estimator)
        return cls(selector.frontier_, selector.best_index_, against or known, name)

    def plot(self, ax: Any = None) -> Self:
        """Draw; the bars are standard errors of the difference to the best score.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        FrontierDisplay
        """
        pyplot = optional_import("matplotlib.pyplot", needed_by="A plot", extra="plots")
        if ax is None:
            _, ax = pyplot.subplots(figsize=(6, 4), layout="constrained")
        x, y = self.frontier[self.against], self.frontier["score"]
        ax.axhline(y.max(), color="0.8", lw=1, zorder=0)
        ax.errorbar(
            x, y, self.frontier["standard_error"], fmt="o-", ms=5, lw=1.2, capsize=2.5, ecolor="0.6", color="C0",
            label="students, and standard error of the difference to the best",
        )  # fmt: skip
        ax.scatter(
            x[self.chosen], y[self.chosen], s=110, facecolors="none", edgecolors="C3", lw=1.5, zorder=3, label="chosen"
        )
        ax.set_xlabel(_NAMES[self.against])
        ax.set_ylabel(f"{self.score_name} (greater is better)")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, loc="lower right")
        self.ax_, self.figure_ = ax, ax.figure
        return self
