"""Do the experiments of Lopez-Paz et al. (ICLR 2016) come out as published, and what do the teacher's columns decide?

published: accuracies of teacher, plain and distilled student in the paper's way, where the teacher labels the rows it
was fitted to; the fourth experiment also as the paper words it, and as its released code draws it.
columns: cross-fitted gain in test accuracy over the control when the teacher reads the privileged columns, all, or the
student's, for alpha 0 and for the alpha that is chosen.

Run: python benchmarks/bench_lopez_paz.py [--quick] [--parts published,columns]
"""

from __future__ import annotations

import runpy
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
from _common import HERE, arguments, save

QUESTION = "lopez_paz"
#: As many as in the paper; a cross-fitted student takes many fits.
N_SEEDS = {"published": 100, "columns": 10}
example = SimpleNamespace(**runpy.run_path(str(HERE.parent / "docs" / "examples" / "lopez_paz.py")))


def relevant_by_row_as_worded(plane: np.ndarray, n: int, rng: np.random.Generator) -> Any:
    """Three columns drawn for every row, each with the coefficient of its column."""
    x = rng.normal(size=(n, example.N_COLUMNS))
    drawn = rng.permuted(np.tile(np.arange(example.N_COLUMNS), (n, 1)), axis=1)[:, :3]
    secret = np.take_along_axis(x, drawn, axis=1)
    return x, secret, (secret * plane[drawn]).sum(axis=1) > 0


def relevant_by_row_as_released(plane: np.ndarray, n: int, rng: np.random.Generator) -> Any:
    """Three columns drawn for the whole table, so others in training than in the test."""
    x = rng.normal(size=(n, example.N_COLUMNS))
    secret = x[:, rng.permutation(example.N_COLUMNS)[:3]]
    score = secret @ plane[:3]
    return x, secret, score > np.median(score)


def part_published(quick: bool) -> list[dict[str, Any]]:
    rows = []
    variants = dict.fromkeys((relevant_by_row_as_worded, relevant_by_row_as_released))
    seeds = range(2 if quick else N_SEEDS["published"])
    for generate, paper in (example.PAPER | variants).items():
        found = 100 * np.array([example.as_published(generate, seed) for seed in seeds])
        row: dict[str, Any] = {"experiment": generate.__name__}
        for k, name in enumerate(("teacher", "plain", "distilled")):
            row |= {name: found[:, k].mean(), f"{name}_sd": found[:, k].std(ddof=1)}
            row[f"{name}_paper"] = None if paper is None else paper[k]
        rows.append(row)
    return rows


def part_columns(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for generate in example.PAPER:
        for reads in ("privileged", "all", "student's"):
            for alpha in (0, "auto"):
                seeds = range(2 if quick else N_SEEDS["columns"])
                found = [example.cross_fitted(generate, seed, reads, alpha) for seed in seeds]
                gains = np.array([100 * (one["student"] - one["control"]) for one in found])
                rows.append(
                    {
                        "experiment": generate.__name__,
                        "teacher_reads": reads,
                        "alpha": str(alpha),
                        "control": 100 * np.mean([one["control"] for one in found]),
                        "student": 100 * np.mean([one["student"] for one in found]),
                        "gain": gains.mean(),
                        "gain_sd": gains.std(ddof=1),
                        "seeds_above": int((gains > 0).sum()),
                        "seeds_below": int((gains < 0).sum()),
                    }
                )
    return rows


PARTS = {"published": part_published, "columns": part_columns}

if __name__ == "__main__":
    given = arguments(__doc__)
    warnings.filterwarnings("ignore", "With alpha")
    for title, part in PARTS.items():
        if not given.parts or title in given.parts.split(","):
            save(QUESTION + ("_quick" if given.quick else ""), title, part(given.quick))
