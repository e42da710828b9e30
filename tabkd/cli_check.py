"""``tabkd check``: what differs between the tables of a competition, on a screen or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tabkd import cli_options
from tabkd.cli_errors import bad_input, reported
from tabkd.cli_text import aligned, listed
from tabkd.words import several

if TYPE_CHECKING:
    import pandas as pd

    from tabkd.check import TableCheck
    from tabkd.drift import Apart

__all__ = ["check"]

#: Lines of a table, and names in a line.
_LINES, _NAMES = 10, 8
#: ROC AUC below which drift is slight, or clear; beyond it is strong.
_SLIGHT, _CLEAR = 0.55, 0.7


def check(
    train: cli_options.Train,
    test: Annotated[Path, typer.Argument(help="Table to predict.")],
    target: Annotated[str | None, typer.Option(help="Column to predict; without it leaks are not looked for.")] = None,
    task: cli_options.Task = None,
    id: cli_options.Id = None,
    drop: cli_options.Drop = None,
    groups: cli_options.Groups = None,
    weight: cli_options.Weight = None,
    seed: cli_options.Seed = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all that was found.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Compare training and test table: drift, privileged columns, leaks, duplicates, unseen categories."""
    with reported():
        from tabkd.check import check_tables
        from tabkd.files import check_free, output_path, read_table, replacing

        if json_file is not None:
            with bad_input("--json"):
                output_path(json_file)
            check_free(json_file, overwrite=overwrite, inputs=(train, test))
        text = [] if id is None else [id]
        tables = [read_table(path, text=text) for path in (train, test)]
        found = check_tables(
            *tables,
            target=target,
            task=task,
            id=id,
            drop=listed(drop or [], {str(name) for table in tables for name in table}),
            groups=groups,
            weight=weight,
            random_state=seed,
        )
        for path, table in zip((train, test), tables, strict=True):
            typer.echo(f"{path.name}: {len(table)} rows, {table.shape[1]} columns.")
        typer.echo("\n".join(_lines(found)))
        if json_file is not None:
            with replacing(json_file) as temporary:
                content = json.dumps(found.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
                temporary.write_text(content + "\n", encoding="utf-8")
            typer.echo(f"\nWritten to {json_file}.")


def _lines(found: TableCheck) -> list[str]:
    sections = {
        "kinds": _kinds(found.kinds),
        "leaks": _leaks(found),
        "duplicates": _duplicates(found.duplicates),
        "unseen values": _unseen(found.unseen),
    }
    lines = [*_columns(found), *_drift(found)]
    for name, section in sections.items():
        lines += ["", f"{name}: {section[0]}", *section[1:]] if section else []
    quiet = [name for name, section in sections.items() if not section]
    return [*lines, "", f"Nothing to say of: {', '.join(quiet)}."] if quiet else lines


def _columns(found: TableCheck) -> list[str]:
    lines = []
    if found.privileged:
        lines.append(f"privileged: {len(found.privileged)} in train alone: {several(found.privileged, _NAMES)}.")
    if found.test_only:
        names = several(found.test_only, _NAMES)
        lines.append(f"test only: {len(found.test_only)} in test alone, and so of no use: {names}.")
    lines += [f"left out: {name}, {why}." for name, why in found.identifiers.items()]
    lines += [f"read as text: {name}, which holds numbers, but {why}." for name, why in found.numbers_as_text.items()]
    return ["", *lines, ""] if lines else [""]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    more = [f"  and {len(rows) - _LINES} more"] if len(rows) > _LINES else []
    return ["  " + line for line in aligned([head, *rows[:_LINES]])] + more


# ---------------------------------------------------------------- drift


def _drift(found: TableCheck) -> list[str]:
    drift = found.drift
    if drift is None:
        return ["drift: not looked for; it needs a common column, and 20 rows in each table."]
    lines = [f"drift: {_said(drift.together)}."] if drift.together is not None else []
    if drift.parting:
        others = [f"  The others: {_said(drift.together)}."] if drift.together is not None else []
        lines = [f"drift: {several(drift.parting, _NAMES)} alone parts the tables, as a split in time does.", *others]
    if (found.n_train, found.n_test) != found.n_read:
        lines.append(f"  Read: {found.n_read[0]} rows of train and {found.n_read[1]} of test, drawn at random.")
    marked = drift.columns["drifted"]
    if drift.seen or marked.any():
        lines += _drift_table(drift.columns if drift.seen else drift.columns[marked])
    if marked.any():
        lines.append("  * by more than chance, among so many columns.")
    if drift.seen and drift.rest is not None:
        lines.append(f"  Without those marked: {_said(drift.rest)}.")
    return lines


def _said(apart: Apart) -> str:
    auc, (low, high) = apart.auc.mean, apart.auc.interval()
    strength = "slight" if auc < _SLIGHT else "clear" if auc < _CLEAR else "strong"
    seen = strength if apart.seen else "no drift seen"
    return f"{seen} (train against test has ROC AUC {auc:.3f}, 95% interval {low:.3f} to {high:.3f})"


def _drift_table(columns: pd.DataFrame) -> list[str]:
    rows = [
        [
            ("* " if row["drifted"] else "  ") + row["column"],
            f"{row['auc']:.3f}",
            f"{row['auc_se']:.3f}",
            "" if row["share"] != row["share"] else f"{row['share']:.0%}",
            row["moved"],
        ]
        for row in columns.to_dict("records")
    ]
    return _table(["  column", "AUC alone", "s.e.", "share", "train -> test"], rows)


# ---------------------------------------------------------------- the rest


def _kinds(kinds: pd.DataFrame) -> list[str]:
    if kinds.empty:
        return []
    rows = [[row["column"], row["train"], row["test"], row["example"]] for row in kinds.to_dict("records")]
    return ["columns that cannot be compared until they hold the same.", *_table(["column", "train", "test", ""], rows)]


def _leaks(found: TableCheck) -> list[str]:
    if found.leaks is None:
        return ["not looked for: name the target with --target."]
    metric, shown = _METRICS[str(found.metric)], found.leaks[found.leaks["suspicious"]]
    if shown.empty:
        best = found.leaks[found.leaks["clue"] == "value"].head(1)
        return [
            f"none found. The best column alone is {row['column']}, {metric} {row['score']:.3f}."
            for row in best.to_dict("records")
        ]
    rows = []
    # Columns that miss the same values are one clue.
    for _, same in shown.groupby(["clue", "score", "note"], sort=False):
        first = same.iloc[0]
        names = several(same["column"].tolist(), _NAMES)
        rows.append([_CLUES[first["clue"]].format(names), f"{first['score']:.3f}", first["note"]])
    return ["what alone tells the target.", *_table(["", metric, ""], rows)]


_METRICS = {"roc_auc": "ROC AUC", "r2": "R2"}
_CLUES = {"value": "{}", "missing": "missing: {}", "order": "order: {}"}


def _duplicates(duplicates: pd.DataFrame) -> list[str]:
    shown = duplicates[duplicates["rows"] > 0]
    if shown.empty:
        return []
    rows = [[row["finding"], str(row["rows"]), _share(row["share"])] for row in shown.to_dict("records")]
    lines = ["rows compared by the common columns.", *_table(["", "rows", "share"], rows)]
    if rows[0][0].startswith("train"):
        lines.append(
            "  Folds that part copies make validation look better than it is: keep them in one group (--groups)."
        )
    return lines


def _unseen(unseen: pd.DataFrame) -> list[str]:
    if unseen.empty:
        return []
    rows = [
        [
            row["column"],
            str(row["new"] or ""),
            _share(row["share"]),
            row["examples"],
            str(row["rare"] or ""),
            _share(row["rare_share"]),
        ]
        for row in unseen.to_dict("records")
    ]
    head = ["column", "new", "share of test", "such as", "rare", "share of test"]
    return ["in test, and in train never or in fewer than 10 rows.", *_table(head, rows)]


def _share(share: float) -> str:
    return "" if share == 0 else f"{share:.1%}" if share >= 0.001 else "<0.1%"
