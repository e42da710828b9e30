"""Which columns the teacher reads decides what distillation brings: four synthetic experiments with known answers.

Generators, sizes and models of Lopez-Paz, Bottou, Schoelkopf and Vapnik, "Unifying distillation and privileged
information", ICLR 2016, section 5. More seeds: ``python benchmarks/bench_lopez_paz.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tabkd import DistilledEstimator

N_COLUMNS = 50
N_TRAIN, N_TEST = 200, 10_000
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def clean_labels(plane: np.ndarray, n: int, rng: np.random.Generator) -> Drawn:
    """The privileged column is the distance to the plane; the labels are noisy."""
    x = rng.normal(size=(n, N_COLUMNS))
    distance = x @ plane
    return x, distance[:, None], distance + rng.normal(size=n) > 0


def clean_features(plane: np.ndarray, n: int, rng: np.random.Generator) -> Drawn:
    """The privileged columns are the student's without their noise."""
    clean = rng.normal(size=(n, N_COLUMNS))
    return clean + rng.normal(size=(n, N_COLUMNS)), clean, clean @ plane > 0


def relevant_features(plane: np.ndarray, n: int, rng: np.random.Generator) -> Drawn:
    """The privileged columns are the three that matter; which three makes no difference."""
    x = rng.normal(size=(n, N_COLUMNS))
    return x, x[:, :3], x[:, :3] @ plane[:3] > 0


def relevant_by_row(plane: np.ndarray, n: int, rng: np.random.Generator) -> Drawn:
    """The privileged columns are three values of each row, its largest: the choice that gives the paper's numbers."""
    x = rng.normal(size=(n, N_COLUMNS))
    largest = -np.sort(-x, axis=1)[:, :3]
    score = largest @ plane[:3]
    return x, largest, score > np.median(score)


#: Accuracies in the paper: teacher on privileged columns, student on labels, student on the teacher's answers.
PAPER: dict[Callable[..., Drawn], tuple[int, int, int]] = {
    clean_labels: (96, 88, 95),
    clean_features: (90, 68, 70),
    relevant_features: (98, 89, 97),
    relevant_by_row: (96, 55, 56),
}


def table(drawn: Drawn) -> tuple[pd.DataFrame, np.ndarray]:
    """Regular columns are called x0, x1, ...; privileged ones secret0, secret1, ..."""
    x, secret, y = drawn
    names = [f"{kind}{k}" for kind, values in (("x", x), ("secret", secret)) for k in range(values.shape[1])]
    return pd.DataFrame(np.hstack([x, secret]), columns=names), y


def split(generate: Callable[..., Drawn], seed: int) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=N_COLUMNS)
    return *table(generate(plane, N_TRAIN, rng)), *table(generate(plane, N_TEST, rng))


def logistic() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def columns(X: pd.DataFrame, kind: str) -> list[str]:
    return [name for name in X if name.startswith(kind)]


def as_published(generate: Callable[..., Drawn], seed: int) -> tuple[float, float, float]:
    """Test accuracies of teacher, plain student and distilled student; the teacher labels the rows it was fitted to."""
    X, y, X_test, y_test = split(generate, seed)
    regular, secret = columns(X, "x"), columns(X, "secret")
    teacher = logistic().fit(X[secret], y)
    student = DistilledEstimator(logistic(), logistic(), student_features=regular, alpha=0, cross_fit="folds")
    student.fit(X, y, soft_targets=teacher.predict_proba(X[secret]))
    plain = logistic().fit(X[regular], y)
    return teacher.score(X_test[secret], y_test), plain.score(X_test[regular], y_test), student.score(X_test, y_test)


def cross_fitted(generate: Callable[..., Drawn], seed: int, reads: str, alpha: Any = "auto") -> dict[str, float]:
    """Test accuracies of a student and its control, cross-fitted; ``reads`` says which columns the teacher reads."""
    X, y, X_test, y_test = split(generate, seed)
    teacher_features = {"privileged": columns(X, "secret"), "all": None, "student's": columns(X, "x")}[reads]
    model = DistilledEstimator(
        logistic(),
        logistic(),
        teacher_features=teacher_features,
        student_features=columns(X, "x"),
        alpha=alpha,
        random_state=seed,
    ).fit(X, y)
    regular = X_test[model.student_features_]
    return {
        "control": model.control_.score(regular, y_test),
        "student": model.score(regular, y_test),
        "alpha": model.alpha_,
    }


def main() -> None:
    print("Accuracy in % over 3 seeds, mean ± standard deviation (in the paper)")
    for generate, paper in PAPER.items():
        ours = 100 * np.array([as_published(generate, seed) for seed in range(3)])
        cells = zip(("teacher", "plain", "distilled"), ours.mean(axis=0), ours.std(axis=0), paper, strict=True)
        print(f"{generate.__name__:18}", *(f"{name} {m:.0f} ± {s:.0f} ({p})" for name, m, s, p in cells))
    print("\nClean labels, cross-fitted, alpha chosen: what the teacher reads")
    for reads in ("privileged", "all", "student's"):
        found = cross_fitted(clean_labels, seed=0, reads=reads)
        gain = 100 * (found["student"] - found["control"])
        print(f"{reads:11} alpha {found['alpha']:.2f}, gain in accuracy {gain:+.1f} points")


if __name__ == "__main__":
    main()
