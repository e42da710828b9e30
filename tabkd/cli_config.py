"""Options from a TOML file, and the file that makes a run again."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["ConfigOption", "options_of"]

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
            from tabkd.words import near

            raise typer.BadParameter(
                f"{path} names {name!r}, which is no option of tabkd {command}.{near(name, known)}"
            )
    several = {parameter.name for parameter in context.command.params if getattr(parameter, "multiple", False)}
    listed = {name: [value] if name in several and isinstance(value, str) else value for name, value in values.items()}
    context.default_map = {**(context.default_map or {}), **listed}
    return path


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of options, such as the run.toml beside results; those given here go first.",
        callback=_read,
        is_eager=True,
    ),
]


def options_of(context: typer.Context) -> str:
    """A command's options as TOML, so that ``--config`` makes the run again."""
    lines = [f"command = {json.dumps(context.command.name)}"]
    for name, value in context.params.items():
        if name not in _LEFT_OUT and value is not None:
            lines.append(f"{name} = {json.dumps(_plain(value), ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
