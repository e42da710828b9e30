"""Options from a TOML file, and the file that makes a run again."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["ConfigOption", "write_config"]

#: Not of the run, but of where it stands.
_LEFT_OUT = ("config", "overwrite", "resume")


def _read(context: typer.Context, path: Path | None) -> Path | None:
    """Make a file's values the defaults of the command's options."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            given = tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise typer.BadParameter(f"{path} cannot be read: {why}.") from error
    values = {name.replace("-", "_"): value for name, value in given.items()}
    command = values.pop("command", context.command.name)
    if command != context.command.name:
        raise typer.BadParameter(f"{path} is of tabkd {command}, not of tabkd {context.command.name}.")
    known = {parameter.name for parameter in context.command.params} - set(_LEFT_OUT)
    for name in values:
        if name not in known:
            from tabkd.files import near

            raise typer.BadParameter(
                f"{path} names {name!r}, which is no option of tabkd {command}.{near(name, known)}"
            )
    context.default_map = {**(context.default_map or {}), **values}
    return path


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of options, such as the run.toml beside results; those given here go first.",
        callback=_read,
        is_eager=True,
    ),
]


def write_config(folder: Path, context: typer.Context) -> None:
    """Write a command's options, so that ``--config`` makes the run again."""
    from tabkd.results import RUN

    lines = [f"command = {json.dumps(context.command.name)}"]
    for name, value in context.params.items():
        if name not in _LEFT_OUT and value is not None:
            lines.append(f"{name} = {json.dumps(_plain(value), ensure_ascii=False)}")
    (folder / RUN).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
