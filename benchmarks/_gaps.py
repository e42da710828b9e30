"""From the results of single fits to gaps recovered, tables won and lost, and the figures that they are held to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

REFERENCES = ("teacher", "strong", "control")
FAMILY = ["setting", "student", "rows"]
UNIT = ["table", "rows", "seed", "setting"]


def paired(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per fit of an option, with its control, the teacher, and the strong model of the setting beside it."""
    reference = {name: frame[frame["option"] == name] for name in REFERENCES}
    joined = frame[~frame["option"].isin(REFERENCES)]
    for name, keys in (("control", [*UNIT, "student"]), ("teacher", UNIT), ("strong", UNIT)):
        joined = joined.merge(reference[name][[*keys, "loss", "score"]], on=keys, suffixes=("", f"_{name}"))
    return joined


def by_table(joined: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, and which differences to the control are significant (paired over seeds, two-sided 5 %)."""
    joined = joined.assign(less=joined["loss_control"] - joined["loss"])
    keys = ["option", *FAMILY, "table", "task"]
    grouped = joined.groupby(keys)
    means = grouped[[name for name in joined if name.startswith(("loss", "score", "less"))]].mean()
    n, error = grouped.size(), grouped["less"].sem()
    with np.errstate(divide="ignore", invalid="ignore"):
        means["t"] = means["less"] / error
    bound = pd.Series(student_t.ppf(0.975, np.maximum(n - 1, 1)), n.index)
    means["significant"] = (n > 1) & (means["t"].abs() > bound)
    return means.reset_index()


def recovered(tables: pd.DataFrame, metric: str) -> float:
    """Share of the way from control to teacher, over the tables whose teacher beats the control."""
    gap = tables[f"{metric}_teacher"] - tables[f"{metric}_control"]
    gap, way = (gap, 1) if metric == "score" else (-gap, -1)
    open_gap = gap > 0
    won = way * (tables[metric] - tables[f"{metric}_control"])
    return float(won[open_gap].sum() / gap[open_gap].sum()) if open_gap.any() else np.nan


def family(tables: pd.DataFrame) -> dict[str, Any]:
    """What an option does in one setting, for one student and number of rows, over the tables."""
    relative = tables["less"] / tables["loss_control"]
    error = relative.sem() if len(relative) > 1 else np.nan
    return {
        "tables": len(tables),
        "better": int((tables["less"] > 0).sum()),
        "worse": int((tables["less"] < 0).sum()),
        "significantly_better": int((tables["significant"] & (tables["less"] > 0)).sum()),
        "significantly_worse": int((tables["significant"] & (tables["less"] < 0)).sum()),
        "gap_loss": recovered(tables, "loss"),
        "gap_auc": recovered(tables[tables["task"] == "binary"], "score"),
        "loss_less_by": float(relative.mean()),
        "t": float(relative.mean() / error) if error > 0 else np.nan,
    }


def gaps(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per option, setting, student and number of rows.

    ``gap_loss`` and ``gap_auc`` (tables of two classes) are shares of the way from control to teacher: ratios of sums
    over the tables whose teacher beats the control; ``loss_less_by`` is the mean relative reduction of the loss, and
    ``t`` its ratio to the standard error over tables.
    """
    grouped = by_table(paired(frame)).groupby(["option", *FAMILY])
    names = ["option", *FAMILY]
    return [dict(zip(names, key, strict=True)) | family(tables) for key, tables in grouped]


def winners(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Privileged setting: shares of tables whose student beats its control, mean over rows and seeds.

    Among all tables, and among those whose teacher's model loses without the privileged columns.
    """
    joined = paired(frame)
    strong = frame[frame["option"] == "strong"].pivot(index=["table", "rows", "seed"], columns="setting", values="loss")
    if "privileged" not in strong or "compression" not in strong:
        return []
    lost = (strong["privileged"] - strong["compression"]).groupby("table").mean()
    rows = []
    for (option, student), part in joined[joined["setting"] == "privileged"].groupby(["option", "student"]):
        less = (part["loss_control"] - part["loss"]).groupby(part["table"]).mean()
        helped = less[lost.reindex(less.index) > 0]
        rows.append(
            {
                "option": option,
                "student": student,
                "tables": len(less),
                "better": float((less > 0).mean()),
                "tables_helped_by_columns": len(helped),
                "better_of_these": float((helped > 0).mean()),
                "not_worse_of_these": float((helped >= 0).mean()),
            }
        )
    return rows


def figures(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What is claimed, what was seen, and whether it holds; what has no results yet is left out."""
    tables = by_table(paired(frame))
    families = pd.DataFrame(gaps(frame))
    default = families[families["option"] == "auto"]
    seen: list[tuple[str, float, float]] = [
        ("families where the default is significantly worse than the control", (default["t"] < -2).sum(), 0),
        ("tables where the default is significantly worse", default["significantly_worse"].sum(), 0),
    ]
    small = tables[tables["setting"] == "compression"]
    for student, bound in (("mlp", 0.80), ("mlp_200_epochs", 0.80), ("tree", 0.37)):
        for option in sorted(set(small["option"])):
            part = small[(small["student"] == student) & (small["option"] == option) & (small["task"] == "binary")]
            if len(part):
                seen.append((f"gap in AUC recovered: {student}, {option}", recovered(part, "score"), bound))
    boosted = tables[(tables["student"] == "lgbm_100x15") & (tables["option"] == "auto")]
    if len(boosted):
        seen.append(("lgbm_100x15 not below its control, share of tables", (boosted["less"] >= 0).mean(), 0.90))
        beside = boosted[(boosted["setting"] == "compression") & (boosted["task"] == "binary")]
        behind = (beside["score"] - beside["score_teacher"]).mean()
        seen.append(("lgbm_100x15: mean AUC, all columns, minus its teacher's", behind, -0.001))
    for row in winners(frame):
        if row["tables_helped_by_columns"] and row["option"] in ("auto", "soft"):
            name = f"privileged: {row['student']}, {row['option']} beats its control, share of tables helped"
            seen.append((name, row["better_of_these"], 0.75))
    return [
        {"figure": name, "value": float(value), "bound": bound, "holds": bool(value >= bound if bound else value <= 0)}
        for name, value, bound in seen
    ]
