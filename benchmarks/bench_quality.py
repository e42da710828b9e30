"""What does distillation bring to small students, by table, rows, option and setting, and does it ever hurt?

Settings: *compression*, where the student reads every column, and *privileged*, where it reads the deployable ones.
The teacher reads every column in both, is cross-fitted on pairs of folds, and is fitted once per table, rows and seed.

run: fit what is still missing, and append each result to ``results/quality.jsonl``. Stopped, by ``timeout 1h`` say, it
goes on from there.
summary: for each number of rows, gaps recovered, tables won and lost, and the figures they are held to, into
``results/quality.json``.

Run: python benchmarks/bench_quality.py [--quick] [--parts run,summary] [--tables adult,...] [--rows 1000,...]
     [--seeds 0,1,...] [--settings privileged] [--students tree,...] [--options auto,...]
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from _common import DATA, RESULTS, arguments, save, table
from _gaps import REFERENCES, figures, gaps, winners
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd import DistilledEstimator, SelectPrivileged

QUESTION = "quality"
TABLES = {entry["name"]: entry for entry in json.loads((DATA / "index.json").read_text(encoding="utf-8"))}
ROWS = (1_000, 3_000, 10_000)
SEEDS = (0, 1, 2, 3, 4)
SETTINGS = ("compression", "privileged")
#: Rows that are held out: at most so many, and a table with fewer left is too small.
N_TEST, MIN_TEST = 10_000, 1_000
#: Rows without labels per labelled row, as many as MUNGE makes; at most half of the rows that are left over.
N_UNLABELED = 4
#: Boosters grow a tree per class and round, other students see a row once per class: such tables end at fewer rows.
MANY_CLASSES, MANY_CLASSES_ROWS = 10, 1_000

KEY = ("table", "rows", "seed", "setting", "student", "option")


# ---------------------------------------------------------------- models


def teacher(n_classes: int) -> Any:
    """The strongest of some LightGBM settings on four tables: few leaves, small steps; 0 classes are a regression."""
    cls = LGBMClassifier if n_classes else LGBMRegressor
    trees = 100 if n_classes > MANY_CLASSES else 300
    return cls(
        n_estimators=trees,
        learning_rate=9 / trees,
        num_leaves=15,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.7,
        n_jobs=1,
        verbose=-1,
    )


def boosted(trees: int, leaves: int) -> Callable[..., Any]:
    def make(regression: bool, texts: list[str], numbers: list[str]) -> Any:
        cls = LGBMRegressor if regression else LGBMClassifier
        return cls(n_estimators=trees, num_leaves=leaves, n_jobs=1, verbose=-1)

    return make


def tree(regression: bool, texts: list[str], numbers: list[str]) -> Any:
    return (DecisionTreeRegressor if regression else DecisionTreeClassifier)(max_depth=6, min_samples_leaf=20)


def prepared(classifier: Any, regressor: Any) -> Callable[..., Any]:
    """Behind imputed, scaled and one-hot columns."""

    def make(regression: bool, texts: list[str], numbers: list[str]) -> Any:
        return make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
                (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5), texts),
            ),
            regressor if regression else classifier,
        )

    return make


def network(regression: bool, texts: list[str], numbers: list[str]) -> Any:
    """Ours, which learns soft labels by cross-entropy and prepares its columns itself."""
    from tabkd.neural import TabularMLPClassifier, TabularMLPRegressor

    return (TabularMLPRegressor if regression else TabularMLPClassifier)(width=32, device="cpu")


#: Epochs and steps of the best loss on true labels; scikit-learn's 200 epochs overfit classes, and flatter a teacher.
_STOPPED: dict[str, Any] = {"hidden_layer_sizes": (32,), "learning_rate_init": 0.003}
_DEFAULT: dict[str, Any] = {"hidden_layer_sizes": (32,)}
STUDENTS = {
    "tree": tree,
    "lgbm_20x8": boosted(20, 8),
    "lgbm_100x15": boosted(100, 15),
    "linear": prepared(LogisticRegression(max_iter=300), Ridge()),
    "mlp": prepared(MLPClassifier(max_iter=20, **_STOPPED), MLPRegressor(max_iter=100, **_STOPPED)),
    "mlp_200_epochs": prepared(MLPClassifier(**_DEFAULT), MLPRegressor(**_DEFAULT)),
    "torch_mlp": network,
}

#: Learnt from the soft targets of the pairs of folds, and not scored.
TAUGHT: dict[str, dict[str, Any]] = {
    "soft": {"alpha": 0.5},
    "soft_0": {"alpha": 0},
    "hard": {"alpha": 0, "targets": "hard"},
    "trusted": {"alpha": 0, "targets": "trusted"},
    "generations": {"alpha": 0.5, "generations": 3},
}
#: Further rows need teachers; those of ordinary folds leave one fit. ``soft_folds`` is what they are held against.
_FOLDS: dict[str, Any] = {"cross_fit": "folds", "alpha": 0.5}
OPTIONS: dict[str, dict[str, Any]] = {
    "auto": {},
    "soft_folds": _FOLDS,
    "munge": {**_FOLDS, "transfer": "munge"},
    "unlabeled": _FOLDS,
    "impute": {**_FOLDS, "impute": "all"},
    "auto_munge": {"transfer": "munge"},
    "privileged_teacher": _FOLDS,
    "choosing_teacher": _FOLDS,
}
#: Many times the time of all others together, teachers of their own, or torch.
ON_REQUEST = ("mlp_200_epochs", "torch_mlp", "auto_munge", "privileged_teacher", "choosing_teacher")


# ---------------------------------------------------------------- one table, number of rows and seed


@dataclass
class Cell:
    """Rows of one table, and its teacher."""

    name: str
    n_rows: int
    seed: int
    memory: str

    def __post_init__(self) -> None:
        X, y, self.entry = table(self.name)
        self.regression = self.entry["task"] == "regression"
        self.X, X_rest, y, y_rest = train_test_split(
            X.astype({name: str for name in self.entry["cat_all"] if name in X}),
            y if self.regression else pd.factorize(y, sort=True)[0],
            train_size=self.n_rows,
            stratify=None if self.regression else y,
            random_state=self.seed,
        )
        n_test = min(N_TEST, max(MIN_TEST, len(X_rest) // 2))
        self.X_test, self.X_more = X_rest[:n_test], X_rest[n_test : n_test + N_UNLABELED * self.n_rows]
        self.y, self.y_test = np.asarray(y), np.asarray(y_rest[:n_test])
        self.n_classes = 0 if self.regression else len(np.unique(self.y))
        if self.regression:  # networks need it
            mean, scale = self.y.mean(), self.y.std()
            self.y, self.y_test = (self.y - mean) / scale, (self.y_test - mean) / scale

    def columns(self, setting: str) -> list[str]:
        return self.entry["deploy"] + (self.entry["priv"] if setting == "compression" else [])

    def distilled(self, student: Any, **params: Any) -> DistilledEstimator:
        return DistilledEstimator(
            teacher(self.n_classes), student, memory=self.memory, random_state=self.seed, n_jobs=1, **params
        )

    @cached_property
    def teaching(self) -> DistilledEstimator:
        """Teachers and their labels, with a student that costs nothing."""
        student = (DecisionTreeRegressor if self.regression else DecisionTreeClassifier)(max_depth=1)
        return self.distilled(student, alpha=0.5).fit(self.X, self.y)

    def fitted(self, setting: str, student: str, option: str) -> Any:
        columns = self.columns(setting)
        texts = [name for name in columns if name in self.entry["cat_all"]]
        model = STUDENTS[student](self.regression, texts, [name for name in columns if name not in texts])
        estimator = self.distilled(model, student_features=columns)
        if option == "control":
            return estimator.fit_control(self.X, self.y)
        if option in TAUGHT:
            soft = self.teaching.soft_targets_
            return estimator.set_params(cross_fit="folds", **TAUGHT[option]).fit(self.X, self.y, soft_targets=soft)
        if option == "privileged_teacher":
            estimator.set_params(teacher_features=self.entry["priv"])
        elif option == "choosing_teacher":
            estimator.set_params(teacher_features=SelectPrivileged(self.entry["deploy"]))
        more = {"X_unlabeled": self.X_more} if option == "unlabeled" else {}
        return estimator.set_params(**OPTIONS[option]).fit(self.X, self.y, **more)

    def strong(self, setting: str) -> Any:
        """The teacher's model fitted once to all rows: what would be fitted if its columns were there later."""
        plain = teacher(self.n_classes).set_params(random_state=self.seed)
        return DistilledEstimator(
            plain, plain, student_features=self.columns(setting), random_state=self.seed
        ).fit_control(self.X, self.y)

    def measured(self, model: Any, setting: str) -> dict[str, float]:
        """Loss (log-loss, or squared error over the variance), and ROC AUC, accuracy or R2, on the test rows."""
        X, y = self.X_test[self.columns(setting)], self.y_test
        if self.regression:
            r2 = r2_score(y, model.predict(X))
            return {"loss": 1 - r2, "score": r2}
        proba = model.predict_proba(X)
        binary = proba.shape[1] == 2
        score = roc_auc_score(y, proba[:, 1]) if binary else accuracy_score(y, proba.argmax(axis=1))
        return {"loss": log_loss(y, proba, labels=np.arange(proba.shape[1])), "score": score}

    def result(self, setting: str, student: str, option: str) -> dict[str, Any]:
        """One line of the store."""
        if option in TAUGHT:
            _ = self.teaching  # its time is the teacher's
        start = time.process_time()
        read = "compression" if option == "teacher" else setting
        if option == "teacher":
            model: Any = self.teaching.teacher_
        elif option == "strong":
            model = self.strong(setting)
        else:
            model = self.fitted(setting, student, option)
        taken = time.process_time() - start
        found = self.measured(model, read)
        told = {name: getattr(model, f"{name}_", None) for name in ("alpha", "distillation_gain")}
        key = dict(zip(KEY, (self.name, self.n_rows, self.seed, setting, student, option), strict=True))
        return key | {"task": self.entry["task"]} | found | told | {"seconds": round(taken, 3)}


def fits(name: str, n_rows: int) -> bool:
    """Whether a table has so many rows and a test."""
    entry = TABLES[name]
    if entry["rows"] < n_rows + MIN_TEST:
        return False
    many = entry["task"] == "multiclass" and table(name)[1].nunique() > MANY_CLASSES
    return not many or n_rows <= MANY_CLASSES_ROWS


# ---------------------------------------------------------------- parts


def part_run(given: Any, store: Path) -> None:
    """Seeds outermost and small tables first, so that a run that was stopped is balanced."""
    known = {tuple(line[name] for name in KEY) for line in read(store)}
    for seed, n_rows, name in product(given.seeds, given.rows, given.tables):
        options = [o for o in given.options if o != "hard" or TABLES[name]["task"] != "regression"]
        models = [("", "teacher"), ("", "strong"), *product(given.students, ["control", *options])]
        wanted = [(setting, *model) for model in models for setting in given.settings]
        wanted = [key for key in wanted if (key[0], key[2]) != ("compression", "impute")]  # no column is privileged
        missing = [key for key in wanted if (name, n_rows, seed, *key) not in known]
        if not missing or not fits(name, n_rows):
            continue
        began = time.process_time()
        with TemporaryDirectory() as memory, store.open("a", encoding="utf-8") as lines:
            cell = Cell(name, n_rows, seed, memory)
            for key in missing:
                lines.write(json.dumps(cell.result(*key)) + "\n")
                lines.flush()
            n_teachers = len(list(Path(memory).rglob("output.pkl")))
        taken = time.process_time() - began
        print(f"{name} {n_rows} seed {seed}: {len(missing)} results, {n_teachers} teachers, {taken:.0f} s", flush=True)


def read(store: Path) -> list[dict[str, Any]]:
    """Everything measured so far."""
    lines = store.read_text(encoding="utf-8").splitlines() if store.exists() else []
    return [json.loads(line) for line in lines]


def part_summary(given: Any, store: Path) -> None:
    question = store.stem
    chosen = {name: getattr(given, f"{name}s") for name in ("table", "seed", "setting")} | {"rows": given.rows}
    frame = pd.DataFrame(read(store), columns=[*KEY, "task", "loss", "score"])
    frame = frame[np.logical_and.reduce([frame[name].isin(values) for name, values in chosen.items()])]
    frame = frame[frame["student"].isin([*given.students, ""]) & frame["option"].isin([*given.options, *REFERENCES])]
    for n_rows, part in frame.groupby("rows"):
        if part["option"].isin(REFERENCES).all():
            print(f"no results of {n_rows} rows yet: run them first, or choose others")
            continue
        for name, summary in {"gaps": gaps, "winners": winners, "figures": figures}.items():
            save(question, f"{name}_{n_rows}", summary(part))


PARTS = {"run": part_run, "summary": part_summary}


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", "With alpha")
    models = {"students": STUDENTS, "options": TAUGHT | OPTIONS}
    usual = {key: [name for name in names if name not in ON_REQUEST] for key, names in models.items()}
    given = arguments(__doc__, defaults=usual, tables=TABLES, rows=ROWS, seeds=SEEDS, settings=SETTINGS, **models)
    question = QUESTION
    if given.quick:
        question = f"{QUESTION}_quick"
        given.tables, given.rows, given.seeds = ["telco_churn", "bike_sharing"], [1_000], [0, 1]
        given.students = ["tree"]
    store = RESULTS / f"{question}.jsonl"
    if given.quick:
        store.unlink(missing_ok=True)
    for part in given.parts.split(",") if given.parts else PARTS:
        PARTS[part](given, store)
