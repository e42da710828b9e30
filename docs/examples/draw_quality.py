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
    "mlp": "perceptron of 32",
    "lgbm_100x15": "100 boosted trees\nof 15 leaves",
    "linear": "logistic regression",
    "lgbm_20x8": "20 boosted trees\nof 8 leaves",
}
OPTIONS = {
    "soft": ("soft targets, alpha 0.5", "o", "#7f9fbf"),
    "munge": ("and synthetic rows", "D", "#f2a33c"),
    "auto": ('alpha="auto", the default', "s", "#1f2933"),
}


def main(path: str = "quality.png") -> None:
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["gaps"]
    found = {(row["student"], row["option"]): row for row in rows if row["setting"] == "compression"}
    figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    for x, name in ((0, "the same student\nwithout a teacher"), (100, "teacher")):
        axes.axvline(x, color="#1f2933", linewidth=1)
        axes.annotate(name, (x, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=9)
    for option, (label, marker, colour) in OPTIONS.items():
        seen = [(100 * found[student, option]["gap_auc"], y) for y, student in enumerate(STUDENTS)
                if (student, option) in found]  # fmt: skip
        axes.scatter(*zip(*seen, strict=True), marker=marker, color=colour, s=52, label=label, zorder=3)
    axes.set_yticks(range(len(STUDENTS)), list(STUDENTS.values()))
    axes.invert_yaxis()
    axes.set_xlabel("share of the way from control to teacher, ROC AUC, %")
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 0.9), fontsize=9)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
