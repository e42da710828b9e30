"""Optuna studies that belong to one problem, and go on where a killed process left them."""

from __future__ import annotations

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

__all__ = [
    "DEFAULT",
    "FINISHED",
    "finished",
    "mark_as_mine",
    "open_study",
    "opened",
    "quiet_optuna",
    "reclaim",
    "studies_in",
    "under_way",
]

#: Attribute of the trial that scores the estimator as it was given.
DEFAULT = "default"
#: States of trials that count.
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_PROBLEM, _PROCESS = "tabkd problem", "process"
#: Tells this process from an earlier one of the same number.
_TOKEN = uuid.uuid4().hex
#: Seconds that another process waits for its turn at an SQLite file.
PATIENCE = 60


@contextmanager
def quiet_optuna(verbose: int) -> Iterator[None]:
    """Keep Optuna's own log to warnings, unless more is wanted."""
    before = optuna.logging.get_verbosity()
    if verbose < 2:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(
    storage: Any,
    name: str,
    problem: dict[str, Any],
    directions: Sequence[Literal["maximize", "minimize"]],
    sampler: Any = None,
    pruner: Any = None,
) -> optuna.Study:
    """Create a study, or load the one of that name if it is of the same problem.

    Parameters
    ----------
    storage : optuna.storages.BaseStorage, str or None
        A URL (``sqlite:///study.db``), a path of a journal file, or None for memory.
    name : str
    problem : dict
        Plain data that must agree for scores to be comparable.
    directions : sequence of {"maximize", "minimize"}
    sampler, pruner
        Of Optuna.

    Returns
    -------
    optuna.Study

    Raises
    ------
    ValueError
        If the storage cannot be used, or holds a study of that name of another problem.
    """
    with _reported(storage):
        study = optuna.create_study(
            storage=opened(storage), study_name=name, load_if_exists=storage is not None, directions=directions,
            sampler=sampler, pruner=pruner,
        )  # fmt: skip
        known = study.user_attrs.get(_PROBLEM)
        if known is None:
            study.set_user_attr(_PROBLEM, problem)
    if known is not None:
        asked = json.loads(json.dumps(problem))
        different = [key for key in asked if known.get(key) != asked[key]]
        if different:
            key = different[0]
            raise ValueError(
                f"storage={_shown(storage)} holds the study {name!r} of another problem: {key} was "
                f"{known.get(key)!r} and is now {asked[key]!r}. Give another study_name or storage."
            )
    return study


def studies_in(storage: Any) -> list[optuna.Study]:
    """Every study of a storage.

    Raises
    ------
    ValueError
        If it cannot be used.
    """
    with _reported(storage):
        found: Any = opened(storage)
        names = optuna.get_all_study_names(found)
        return [optuna.load_study(study_name=name, storage=found) for name in names]


@contextmanager
def _reported(storage: Any) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # databases and files fail in ways of their own
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"storage={_shown(storage)} cannot be used: {cause} Give a file that can be read and written, and that "
            "nobody else has locked."
        ) from error


def opened(storage: Any) -> BaseStorage | None:
    """The storage that a URL or a path of a journal file names."""
    if storage is None or isinstance(storage, BaseStorage):
        return storage
    if "://" not in str(storage):
        return JournalStorage(JournalFileBackend(str(Path(storage))))
    patient = {"connect_args": {"timeout": PATIENCE}} if str(storage).startswith("sqlite") else {}
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return RDBStorage(str(storage), engine_kwargs=patient)
        except Exception as error:  # another process is making the same tables
            if not re.search("already exists|UNIQUE constraint", str(error)) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def _shown(storage: Any) -> str:
    return repr(str(storage) if isinstance(storage, Path) else storage)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that count."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def under_way(study: optuna.Study) -> int:
    """Trials that living processes of this machine are working on."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return sum(_alive(trial.user_attrs.get(_PROCESS)) for trial in running)


def mark_as_mine(trial: optuna.Trial) -> None:
    """Note who works on a trial, so that others can tell when it was left behind."""
    trial.set_user_attr(_PROCESS, {"host": socket.gethostname(), "pid": os.getpid(), "token": _TOKEN})


def reclaim(study: optuna.Study) -> int:
    """Put trials that a killed process of this machine left behind back into the queue; returns how many."""
    left = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        process = trial.user_attrs.get(_PROCESS)
        if process is None:  # killed, or just about to say whose it is
            gone = trial.datetime_start is None or datetime.now() - trial.datetime_start > timedelta(minutes=1)
        else:
            gone = process["host"] == socket.gethostname() and not _alive(process)
        if not gone:
            continue
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except ValueError:  # another process was faster
            continue
        kept = {key: value for key, value in trial.user_attrs.items() if key == DEFAULT}
        if trial.params or kept:
            study.enqueue_trial(trial.params, user_attrs=kept)
        left += 1
    return left


def _alive(process: dict[str, Any] | None) -> bool:
    if process is None or process["host"] != socket.gethostname():
        return False
    if process["pid"] == os.getpid():
        return process["token"] == _TOKEN
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(process["pid"])


def _is_zombie(pid: int) -> bool:
    """Whether a process is dead and only its parent has not looked yet (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
