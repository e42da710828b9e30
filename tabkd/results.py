"""What a fit leaves in its folder: the model, honest predictions, a submission, and the summary."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.metrics import get_scorer_names

from tabkd.cli_text import aligned
from tabkd.competition import Plan
from tabkd.files import InputError, replacing, write_table
from tabkd.presets import Metric
from tabkd.scoring import Judge
from tabkd.submission import probability_columns
from tabkd.target_column import Target
from tabkd.targets import Targets
from tabkd.words import several

__all__ = [
    "FILES",
    "RUN",
    "describe",
    "load_model",
    "load_summary",
    "out_of_fold_tables",
    "prepare_folder",
    "save",
    "scores_of",
    "summary_lines",
]

RUN = "run.toml"
MODEL, SUMMARY, SUBMISSION = "model.joblib", "summary.json", "submission.csv"
SOFT_TARGETS, PREDICTIONS = "soft_targets.csv", "student_predictions.csv"
#: Every file that a fit may write, and what it is.
FILES = {
    MODEL: "the fitted model, for tabkd predict or joblib.load",
    SOFT_TARGETS: "what the teacher says of training rows that it never saw",
    PREDICTIONS: "honest predictions of student and control for the training rows",
    SUBMISSION: "predictions for the test table",
    "trials.csv": "every student that was tried",
    "teacher_trials.csv": "every teacher that was tried",
    "pareto_front.csv": "students that no other beats in every objective",
    "frontier.csv": "sets of columns that were tried, and their scores",
    RUN: "the options, for --config, to do it again",
    SUMMARY: "scores and settings",
}
#: Names of scores for people, who count losses above zero.
_NAMES = {
    "neg_log_loss": "log-loss",
    "roc_auc": "ROC AUC",
    "neg_mean_squared_error": "squared error",
    "r2": "R2",
}


def prepare_folder(folder: Path, *, overwrite: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Make the folder for the results, before hours are spent on what could not be written.

    Parameters
    ----------
    folder : Path
    overwrite : bool
        Replace earlier results.
    inputs : iterable of Path or None
        What the run reads.

    Raises
    ------
    InputError
        If it is a file, cannot be made or written, or holds something and ``overwrite`` is not set; or if an input, or
        a file that no fit has written, would be lost.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written: {error.strerror}. Give another folder.") from error
    if not overwrite and any(folder.iterdir()):
        raise InputError(
            f"--out {folder} is not empty. Give another folder, or --overwrite to replace the results in it."
        )
    replaced = [folder / name for name in FILES if (folder / name).exists()]
    for path in inputs:
        if path is not None and path.exists() and any(path.samefile(result) for result in replaced):
            raise InputError(f"{path} is read by this run, and would be replaced by its results. Give another --out.")
    if replaced and not (folder / SUMMARY).exists():
        names = several([path.name for path in replaced])
        raise InputError(
            f"--out {folder} holds {names}, but no {SUMMARY}: these are no results of an earlier run, and would be "
            "replaced. Move them, or give another folder."
        )


@dataclass(frozen=True)
class Scores:
    """One metric, greater is better, on rows that no compared model has seen."""

    teacher: float
    control: float
    student: float
    gain: float
    gain_se: float

    def as_dict(self) -> dict[str, float]:
        """Plain numbers, with the 95 % interval of the gain."""
        half = 1.96 * self.gain_se
        return {**vars(self), "gain_low": self.gain - half, "gain_high": self.gain + half}


def scores_of(model: Any, metric: Metric, targets: Targets, groups: np.ndarray | None, seed: int) -> dict[str, Scores]:
    """The metric that the student was chosen by, and the usual ones beside it.

    The first is the estimator's own, where the choice of alpha is made again without each fold. The others
    take the choice as it was made.

    Parameters
    ----------
    model : DistilledEstimator
        Fitted on pairs of folds, or on one split.
    metric : Metric
    targets : Targets
    groups : ndarray of shape (n_samples,) or None
    seed : int

    Returns
    -------
    dict of str to Scores
    """
    found = {
        metric.name: Scores(
            model.teacher_score_,
            model.control_score_,
            model.student_score_,
            model.distillation_gain_,
            model.distillation_gain_se_,
        )
    }
    if targets.classes is None:
        usual = ["neg_mean_squared_error", "r2"]
    else:
        usual = ["neg_log_loss", "roc_auc" if len(targets.classes) == 2 else "accuracy"]
    scored = _scored(model)
    rows = np.flatnonzero(scored)
    for name in usual:
        if name not in found:
            judge = Judge(targets, groups=groups, scoring=name, seed=seed)
            teacher, control, student = (
                judge.judged(np.where(scored[:, None], predictions, 0.0)[None])
                for predictions in (model.soft_targets_, model.control_predictions_, model.student_predictions_)
            )
            gain, error = judge.compare(student, control, rows)
            found[name] = Scores(
                judge.score(teacher, rows), judge.score(control, rows), judge.score(student, rows), gain, error
            )
    return found


def _scored(model: Any) -> np.ndarray:
    """The rows that no compared model has seen: all of them, or those put aside where one split is all there is."""
    return ~np.isnan(model.student_predictions_).any(axis=1)


def out_of_fold_tables(model: Any, target: Target, ids: pd.Series | None) -> dict[str, pd.DataFrame]:
    """Soft targets, and predictions of student and control, in the order of the training rows.

    Parameters
    ----------
    model : DistilledEstimator
    target : Target
    ids : Series or None
        Identifiers of the training rows.

    Returns
    -------
    dict of str to DataFrame
        By the name of the file. For two classes the predictions are those of the positive label. Rows that were
        trained on hold none.
    """
    soft = np.where(_scored(model)[:, None], model.soft_targets_, np.nan)
    first: dict[str, Any] = {} if ids is None else {str(ids.name): ids.to_numpy()}
    kept = slice(1, None) if target.two_classes else slice(None)
    labels = None if target.labels is None else target.labels[kept]
    return {
        SOFT_TARGETS: pd.DataFrame({**first, **probability_columns("teacher", soft, target.labels)}),
        PREDICTIONS: pd.DataFrame(
            {
                **first,
                target.name: target.values,
                **probability_columns("student", model.student_predictions_[:, kept], labels),
                **probability_columns("control", model.control_predictions_[:, kept], labels),
            }
        ),
    }


def describe(model: Any, target: Target, plan: Plan, scores: dict[str, Scores], **more: Any) -> dict[str, Any]:
    """The summary, as plain data.

    Parameters
    ----------
    model : DistilledEstimator
    target : Target
    plan : Plan
    scores : dict of str to Scores
    **more
        Settings to add.

    Returns
    -------
    dict
    """
    labels = None if target.labels is None else target.labels.tolist()
    return {
        "target": target.name,
        "task": "regression" if target.regression else "classification",
        "labels": labels,
        "positive": labels[1] if labels is not None and target.two_classes else None,
        "id": plan.id,
        "rows": len(target.y),
        "scores": {name: score.as_dict() for name, score in scores.items()},
        "alpha": model.alpha_,
        "control_kept": model.generation_ == 0,
        "threshold": model.threshold_,
        "teacher_columns": plan.features,
        "student_columns": model.student_features_,
        "dropped": plan.dropped,
        **more,
    }


def save(
    folder: Path,
    model: Any,
    tables: dict[str, pd.DataFrame],
    summary: dict[str, Any],
    options: str | None = None,
    dialect: Mapping[str, str] | None = None,
) -> None:
    """Write the folder; its old summary goes first and the new one comes last, so that a folder that has one is whole.

    Parameters
    ----------
    folder : Path
    model : DistilledEstimator
    tables : dict of str to DataFrame
        By the name of the file.
    summary : dict
    options : str or None
        Of the command, for ``--config``.
    dialect : mapping or None
        Of the submission, as :func:`tabkd.files.read_dialect` has it.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    texts = {} if options is None else {RUN: options}
    texts[SUMMARY] = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    try:
        (folder / SUMMARY).unlink(missing_ok=True)
        with replacing(folder / MODEL) as temporary:
            joblib.dump(model, temporary, compress=3)
        for name, table in tables.items():
            write_table(table, folder / name, **(dialect or {} if name == SUBMISSION else {}))
        for name in set(FILES) - {MODEL, *tables, *texts}:
            (folder / name).unlink(missing_ok=True)  # of an earlier model
        for name, text in texts.items():
            with replacing(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written: {error.strerror}. Give another folder.") from error


def load_summary(folder: Path) -> dict[str, Any]:
    """The summary of a folder.

    Raises
    ------
    InputError
        If the folder was not written by a fit.
    """
    path = folder / SUMMARY
    if not path.is_file():
        raise InputError(f"{folder} holds no {SUMMARY}. Give the folder that tabkd fit wrote with --out.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}. Fit the model again.") from error


def load_model(folder: Path) -> Any:
    """The model of a folder. Load only what you trust: a pickle can run any code.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    path = folder / MODEL
    if not path.is_file():
        raise InputError(f"{folder} holds no {MODEL}. Give the folder that tabkd fit wrote with --out.")
    try:
        return joblib.load(path)
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"{path} cannot be loaded ({type(error).__name__}: {error}). Fit the model again.") from error


def summary_lines(summary: dict[str, Any], folder: Path) -> list[str]:
    """The summary for people.

    Parameters
    ----------
    summary : dict
        From :func:`describe`.
    folder : Path
        Where the results were written.

    Returns
    -------
    list of str
    """
    rows = [["", "teacher", "control", "student", "gain", "s.e.", "95% interval"]]
    for name, score in summary["scores"].items():
        loss = name.startswith("neg_") and name in get_scorer_names()  # not one of the user's own
        shown = [-score[m] if loss else score[m] for m in ("teacher", "control", "student")]
        interval = f"{score['gain_low']:+.4f} to {score['gain_high']:+.4f}"
        numbers = [*(f"{value:.4f}" for value in shown), f"{score['gain']:+.4f}", f"{score['gain_se']:.4f}", interval]
        rows.append([f"{_NAMES.get(name, name.removeprefix('neg_'))}{' (lower is better)' if loss else ''}", *numbers])
    threshold = summary["threshold"]
    lines = [
        "",
        *aligned(rows, right=True),
        "",
        "Control: the same student without a teacher. All scores are of rows not trained on.",
    ]
    chosen = ["columns"] * ("budget" in summary) + ["parameters"] * bool(summary.get("search", {}).get("best_params"))
    if chosen:
        lines.append(f"But its {' and '.join(chosen)} were chosen on these rows, so the scores are a little too good.")
    if summary["control_kept"]:
        lines.append("The control is kept, and ships: no soft targets beat it by more than one standard error.")
        if any(score["gain"] for score in summary["scores"].values()):
            lines.append("(A gain that is not 0 is that of the choice, made again without each fold.)")
    else:
        lines.append(f"alpha {summary['alpha']:g}: weight of the true labels in the student's target.")
    if threshold is not None:
        lines.append(f"threshold {threshold:.4g}: {summary['positive']!r} is predicted above it.")
    if "search" in summary:
        lines += _search_lines(summary["search"])
    if "budget" in summary:
        lines += _budget_lines(summary["budget"])
    lines += ["", f"Written to {folder} in {summary['seconds']:.0f} s:"]
    written = [[f"  {name}", what] for name, what in FILES.items() if (folder / name).exists()]
    lines += aligned(written)
    model = shlex.quote(str(folder))
    return [*lines, "", f"Next: tabkd predict {model} TABLE --out FILE, or tabkd export {model} --out FILE.onnx"]


def _search_lines(search: dict[str, Any]) -> list[str]:
    """What was found, and what to expect of it."""
    if not search["best_params"]:
        return [f"Of {search['trials']} trials none is better than the default, which stays."]
    found = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in search["best_params"].items()
        if not isinstance(value, list)
    )
    expected, default = search["expected_score"], search["default_score"]
    return [
        f"Best of {search['trials']} trials: {found}.",
        f"To expect of such a search: {expected:.4f} (chosen again without each fold); the default has {default:.4f}.",
    ]


def _budget_lines(budget: dict[str, Any]) -> list[str]:
    """Which columns were chosen, and what the others were worth."""
    lines = [f"Columns chosen, {len(budget['columns'])} of {budget['of']}: {', '.join(map(str, budget['columns']))}."]
    if budget["full_cost"] != budget["of"]:
        lines.append(f"They cost {budget['cost']:g}; all of them {budget['full_cost']:g}.")
    lines.append(f"Score of the columns chosen {budget['score']:.4f}, of all {budget['full_score']:.4f}.")
    return lines
