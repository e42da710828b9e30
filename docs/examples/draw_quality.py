"""Draws docs/img/quality.png: how far from its control towards its teacher each kind of student gets.

Reads benchmarks/results/quality.json, which benchmarks/bench_quality.py writes. Run it with the file to write as its
argument (default: quality.png in the current directory).
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "quality.json"
STUDENTS = {
    "tree": "one tree of depth 6",
    "mlp": "perceptron of 32,\n20 epochs",
    "lgbm_100x15": "100 boosted trees\nof 15 leaves",
    "lgbm_20x8": "20 boosted trees\nof 8 leaves",
    "linear": "logistic regression",
}
OPTIONS = {
    "soft": ("soft targets, alpha 0.5", "o", "#7f9fbf"),
    "munge": ("alpha 0.5 and synthetic rows", "D", "#f2a33c"),
    "auto": ('alpha="auto", the default', "s", "#1f2933"),
}


#: What the student reads, and the axis: with fewer columns everybody stays near the control.
SETTINGS = {
    "compression": ("the student reads all columns", (-45, 145)),
    "privileged": ("the student reads the deployable ones", (-9, 17)),
}


def main(path: str = "quality.png") -> None:
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["gaps_3000"]
    found = {(row["setting"], row["student"], row["option"]): 100 * row["gap_auc"] for row in rows}
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 4.2), sharey=True, layout="constrained")
    for axes, (setting, (title, (low, high))) in zip(panels, SETTINGS.items(), strict=True):
        axes.set_title(title, fontsize=10, pad=34)
        axes.set_xlim(low, high)
        for x, name in ((0, "the same student\nwithout a teacher"), (100, "teacher")):
            seen = min(x, high)
            axes.axvline(seen, color="#1f2933", linewidth=x == seen)
            name = name if x == seen else f"{name} at {x} →"
            side = "center" if x == seen else "right"
            axes.annotate(name, (seen, 1.01), xycoords=("data", "axes fraction"), ha=side, va="bottom", fontsize=8)
        for shift, (option, (label, marker, colour)) in zip((-0.2, 0, 0.2), OPTIONS.items(), strict=True):
            seen = [
                (found[setting, student, option], y + shift)
                for y, student in enumerate(STUDENTS)
                if (setting, student, option) in found
            ]
            axes.scatter(*zip(*seen, strict=True), marker=marker, color=colour, s=42, label=label, zorder=3)
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)
    panels[0].set_yticks(range(len(STUDENTS)), list(STUDENTS.values()))
    panels[0].invert_yaxis()
    figure.supxlabel("share of the way from control to teacher, ROC AUC, %", fontsize=10)
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=3, fontsize=9
    )
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main(*sys.argv[1:])
