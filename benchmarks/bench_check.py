"""Does a check of two tables find what differs, does it stay silent where nothing does, and how long does it take?

a. Oil, the competition's own tables; bike rentals and hotel bookings split in time: ROC AUC of train against test, of
   all columns and of those not marked, and seconds.
b. Random splits of 8,000 rows: how often drift is claimed where there is none.
c. Random splits with drift made by hand in one column: how often it is seen, and ranked first.

Run: python benchmarks/bench_check.py [--quick] [--parts a,b,c]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from _common import DATA, arguments, save, table

from tabkd import check_tables

QUESTION = "check"
TABLES = ("dacon_oil", "bike_sharing", "adult")
N_ROWS = 8_000


def split(frame: pd.DataFrame, share: float = 0.7) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first rows and the others."""
    cut = int(share * len(frame))
    return frame.iloc[:cut].reset_index(drop=True), frame.iloc[cut:].reset_index(drop=True)


# ---------------------------------------------------------------------- a. real splits


def in_time(name: str, file: str, by: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = pd.read_csv(DATA / name / file)
    frame[by] = pd.to_datetime(frame[by])
    return split(frame.sort_values(by, kind="stable").astype({by: str}))


def part_a(quick: bool) -> list[dict[str, Any]]:
    cases: dict[str, tuple[Callable[[], Any], str]] = {
        "dacon_oil": (lambda: [pd.read_csv(DATA / "dacon_oil" / f"{n}.csv.gz") for n in ("train", "test")], "Y_LABEL"),
        "bike_sharing in time": (lambda: in_time("bike_sharing", "hour.csv.gz", "dteday"), "cnt"),
        "hotel_bookings in time": (
            lambda: in_time("hotel_bookings", "hotel_bookings.csv.gz", "reservation_status_date"),
            "is_canceled",
        ),
    }
    results = []
    for name, (read, target) in list(cases.items())[: 1 if quick else None]:
        start = time.perf_counter()
        train, test = read()
        found = check_tables(train, test, target=target)
        drift, leaks = found.drift, found.leaks
        assert drift is not None and drift.together is not None and leaks is not None
        results.append(
            {
                "tables": name,
                "rows": f"{len(train)} + {len(test)}",
                "parting": ", ".join(drift.parting),
                "auc": drift.together.auc.mean,
                "se": drift.together.auc.se,
                "seen": drift.together.seen,
                "marked": int(drift.columns["drifted"].sum()),
                "auc_of_the_rest": np.nan if drift.rest is None else drift.rest.auc.mean,
                "leaks": ", ".join(leaks.loc[leaks["suspicious"], "column"]),
                "seconds": time.perf_counter() - start,
            }
        )
    return results


# ---------------------------------------------------------------------- b. nothing to find


def random_split(X: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    return split(X.sample(min(N_ROWS, len(X)), random_state=seed))


def part_b(quick: bool) -> list[dict[str, Any]]:
    results = []
    for name in TABLES:
        X, _, _ = table(name)
        drifts = [check_tables(*random_split(X, seed), random_state=seed).drift for seed in range(3 if quick else 20)]
        aucs = [drift.together.auc.mean for drift in drifts]
        results.append(
            {
                "table": name,
                "splits": len(drifts),
                "no_drift_seen": sum(not drift.seen for drift in drifts),
                "a_column_marked": sum(bool(drift.columns["drifted"].any()) for drift in drifts),
                "mean_auc": np.mean(aucs),
                "max_auc": np.max(aucs),
            }
        )
    return results


# ---------------------------------------------------------------------- c. drift by hand


def shifted(values: pd.Series, rng: np.random.Generator) -> pd.Series:
    """Numbers moved by a fifth of their standard deviation, and kept among the values that occur."""
    known = np.sort(values.dropna().unique())
    near = np.searchsorted(known, values + values.std() / 5).clip(0, len(known) - 1)
    return pd.Series(known[near], index=values.index).where(values.notna())


def emptied(values: pd.Series, rng: np.random.Generator) -> pd.Series:
    """A tenth of the values missing."""
    return values.mask(rng.random(len(values)) < 0.1)


def recast(values: pd.Series, rng: np.random.Generator) -> pd.Series:
    """A tenth of the rows in the third most frequent category."""
    return values.mask(rng.random(len(values)) < 0.1, values.value_counts().index[2])


BY_HAND = {
    "dacon_oil": {"ZN": shifted, "FE": emptied, "COMPONENT_ARBITRARY": recast},
    "bike_sharing": {"hum": shifted, "windspeed": emptied, "weekday": recast},
    "adult": {"age": shifted, "hours_per_week": emptied, "occupation": recast},
}


def part_c(quick: bool) -> list[dict[str, Any]]:
    results = []
    for name, changes in BY_HAND.items():
        X, _, _ = table(name)
        for column, change in changes.items():
            drifts = []
            for seed in range(1 if quick else 5):
                train, test = random_split(X, seed)
                test[column] = change(test[column], np.random.default_rng(seed))
                drifts.append(check_tables(train, test, random_state=seed).drift)
            first = [drift.columns.iloc[0] for drift in drifts]
            results.append(
                {
                    "table": name,
                    "column": column,
                    "change": change.__name__,
                    "splits": len(drifts),
                    "seen": sum(drift.seen for drift in drifts),
                    "first": sum(row["column"] == column for row in first),
                    "marked": sum(bool(row["drifted"]) and row["column"] == column for row in first),
                    "others_marked": sum(int(drift.columns["drifted"].iloc[1:].sum()) for drift in drifts),
                    "auc_alone": np.mean([row["auc"] for row in first]),
                    "auc_together": np.mean([drift.together.auc.mean for drift in drifts]),
                }
            )
    return results


PARTS = {"a": ("real", part_a), "b": ("random", part_b), "c": ("by_hand", part_c)}

if __name__ == "__main__":
    given = arguments(__doc__)
    for letter, (title, part) in PARTS.items():
        if not given.parts or letter in given.parts.split(","):
            save(QUESTION + ("_quick" if given.quick else ""), title, part(given.quick))
