"""Draws docs/img/pairs.svg: the rows that each teacher is fitted to, and the rows that it labels, with five folds.

Run it with the file to write as its argument (default: pairs.svg in the current directory).
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

N_FOLDS = 5
CELL_WIDTH, CELL_HEIGHT, GAP = 96, 26, 4
LEFT, TOP, MARGIN = 132, 84, 20
FITTED, LABELLED, INK = "#c9d8ea", "#f2a33c", "#1f2933"


def text(x: float, y: float, content: str, *, anchor: str = "middle", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{weight}>{content}</text>'


def box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{colour}"/>'


def draw(n_folds: int = N_FOLDS) -> str:
    """The diagram as SVG."""
    pairs = list(combinations(range(n_folds), 2))
    width = LEFT + n_folds * (CELL_WIDTH + GAP) + MARGIN
    height = TOP + len(pairs) * (CELL_HEIGHT + GAP) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">',
        "<title>Teachers of pairs of folds</title>",
        box(0, 0, width, height, "#ffffff"),
        box(LEFT, MARGIN, 16, 16, FITTED),
        text(LEFT + 24, MARGIN + 13, "fitted to these rows", anchor="start"),
        box(LEFT + 180, MARGIN, 16, 16, LABELLED),
        text(LEFT + 204, MARGIN + 13, "labels these rows, for the student named", anchor="start"),
        text(MARGIN, TOP - 12, "teacher", anchor="start", bold=True),
    ]
    for fold in range(n_folds):
        parts.append(text(LEFT + fold * (CELL_WIDTH + GAP) + CELL_WIDTH / 2, TOP - 12, f"fold {fold}", bold=True))
    for line, (i, j) in enumerate(pairs):
        y = TOP + line * (CELL_HEIGHT + GAP)
        parts.append(text(MARGIN, y + 18, f"pair ({i}, {j})", anchor="start"))
        for fold in range(n_folds):
            x = LEFT + fold * (CELL_WIDTH + GAP)
            parts.append(box(x, y, CELL_WIDTH, CELL_HEIGHT, LABELLED if fold in (i, j) else FITTED))
            if fold in (i, j):
                student = j if fold == i else i
                parts.append(text(x + CELL_WIDTH / 2, y + 18, f"student {student}"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(path: str = "pairs.svg") -> None:
    Path(path).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
