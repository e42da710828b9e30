"""What goes wrong on the command line: one line on stderr, and exit code 2."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

__all__ = ["bad_input", "reported"]

#: Parameters, and the options that set them.
_OPTIONS = {
    "cv": "folds",
    "random_state": "seed",
    "scoring": "metric",
    "sample_weight": "weight",
    "X_unlabeled": "unlabeled",
    **{name: name for name in ("alpha", "generations", "groups", "impute", "temperature", "transfer")},
    **{name: name.replace("_", "-") for name in ("n_jobs", "student_features", "n_features", "max_cost")},
    **{name: name.replace("_", "-") for name in ("max_length", "batch_size", "learning_rate")},
}


@contextmanager
def bad_input(where: object = "") -> Iterator[None]:
    """What the library refuses is the user's to mend.

    Parameters
    ----------
    where : object
        What the user gave, to begin the line with.
    """
    from tabkd.files import InputError

    try:
        yield
    except (ValueError, TypeError) as error:
        said = _in_options(str(error))
        raise InputError(f"{where}: {said}" if where else said) from error


def _in_options(message: str) -> str:
    """A message of the library's, with options of the commands instead of parameters."""
    for name, option in _OPTIONS.items():
        message = re.sub(rf"\b{name}=None\b", f"no --{option}", message)
        message = re.sub(rf"\b{name}=(?=\S)", f"--{option} ", message)
        if "_" in name:  # no word of any other meaning
            message = re.sub(rf"(?<![\w-]){name}\b", f"--{option}", message)
    return message


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors of the user's into one line and exit code 2, and warnings into a line each."""
    from tabkd.files import InputError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except InputError as error:
            typer.echo(f"error: {_one_line(error)}", err=True)
            raise typer.Exit(2) from error
        except OSError as error:
            if error.filename is None:
                raise
            typer.echo(f"error: {error.filename}: {error.strerror}.", err=True)
            raise typer.Exit(2) from error
        finally:
            for message in dict.fromkeys(_one_line(warning.message) for warning in caught):
                typer.echo(f"warning: {message}", err=True)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
