"""Tables from files and back: CSV (also compressed) and Parquet, written whole or not at all."""

from __future__ import annotations

import io
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from tabkd._compat import optional_import
from tabkd.numerals import missing_marks
from tabkd.words import near

__all__ = [
    "UNNAMED",
    "InputError",
    "as_written",
    "check_free",
    "needed",
    "output_path",
    "read_dialect",
    "read_header",
    "read_table",
    "replacing",
    "write_table",
]

#: Tried in this order; "utf-8-sig" reads UTF-8 with and without a byte order mark.
ENCODINGS = ("utf-8-sig", "cp949")
#: Rows that show how decimals are written.
_N_LOOKED_AT = 1000
#: Fewer different numbers may be flags or codes, beside which a mark such as "-" is one more answer.
_MIN_NUMBERS = 3
#: What pandas calls a column whose name is empty, before its position.
UNNAMED = "Unnamed: "
#: Of other tables than those that are written here.
_OTHERS = {".xlsx", ".xls", ".ods", ".tsv", ".json", ".jsonl", ".feather", ".arrow", ".orc", ".html", ".pkl", ".h5"}


class InputError(ValueError):
    """Something that the caller gave cannot be used; the message says what, and how to mend it."""


def needed(module: str, *, needed_by: str, extra: str) -> Any:
    """Import an optional package.

    Parameters
    ----------
    module, needed_by, extra : str
        Its name, what asks for it, and the extra that brings it.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return optional_import(module, needed_by=needed_by, extra=extra)
    except ImportError as error:
        raise InputError(str(error)) from error


def read_header(path: Path, *, raw: bool = False) -> list[str]:
    """Names of the columns of a table.

    Parameters
    ----------
    path : Path
        A CSV or Parquet file.
    raw : bool
        Leave the name of one without a name, such as a written index, empty. Else it is called ``"Unnamed: 0"`` by its
        position, as pandas calls it.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If the file cannot be read, is empty, or names a column twice.
    """
    if _is_parquet(path):
        return read_table(path).columns.tolist()
    names = [str(cell) for cell in _read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column names must be unique, but {twice} occur more than once. Rename them.")
    return names if raw else [name or f"{UNNAMED}{i}" for i, name in enumerate(names)]


def read_table(path: Path, *, text: Collection[str] = (), free: Collection[str] = ()) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    path : Path
        Parquet if it ends in ``.parquet``, else CSV: UTF-8, with or without a byte order mark, or CP949; compressed
        if it ends in ``.gz``, ``.bz2``, ``.xz`` or ``.zip``; with commas, tabs or semicolons between the columns, and
        with semicolons decimal points or commas.
    text : collection of str
        Columns that stay text, such as categories with leading zeros.
    free : collection of str
        Identifiers and free text, where "NA" or "null" is something that somebody wrote; ``""`` where it is missing.

    Other columns of a CSV that hold numbers and marks such as "?" or "-" are numbers, missing at the marks, with a
    warning that names them.

    Returns
    -------
    DataFrame
        With rows numbered from 0.

    Raises
    ------
    InputError
        If the file is missing, empty, unreadable or malformed; for CSV the line is named.
    """
    if _is_parquet(path):
        frame = _read_parquet(path)
        texts = {name: frame[name].map(str, na_action="ignore") for name in {*text, *free} if name in frame}
        frame = frame.assign(**texts).fillna(dict.fromkeys(free, ""))
    else:
        names = read_header(path)
        kinds = {name: str for name in [*text, *free] if name in names}
        frame = _read_csv(path, dtype=kinds, index_col=False, low_memory=False)
        frame = _without_marks(path, frame, set(names) - set(kinds))
        if own := [name for name in free if name in names]:
            frame[own] = as_written(path, own)
    if len(frame) == 0:
        raise InputError(f"{path} has a header, but no rows. Give a table with rows.")
    return frame


def _without_marks(path: Path, frame: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """The table with columns as numbers that hold nothing else, once their marks are taken for missing."""
    texts = [name for name in frame if name in names and not pd.api.types.is_numeric_dtype(frame[name].dtype)]
    marks = {name: found for name in texts if (found := missing_marks(frame[name]))}
    if not marks:
        return frame
    read = _read_csv(path, usecols=[*marks], na_values=marks, index_col=False, low_memory=False)
    for name, found in marks.items():
        if pd.api.types.is_numeric_dtype(read[name].dtype) and read[name].nunique() >= _MIN_NUMBERS:
            rows = int(frame[name].isin(found).sum())
            warnings.warn(
                f"{path}: {name} holds numbers, and in {rows} of {len(frame)} rows {' or '.join(map(repr, found))}, "
                "which is taken for missing.",
                stacklevel=3,
            )
            frame[name] = read[name]
    return frame


def read_dialect(path: Path) -> dict[str, str]:
    """What separates the columns of a table, and its decimals, as :func:`write_table` takes them.

    Parameters
    ----------
    path : Path
        That :func:`read_table` has read.

    Returns
    -------
    dict of str to str
        ``sep`` and, with semicolons, ``decimal``; nothing for Parquet.
    """
    if not _is_parquet(path):
        for encoding in ENCODINGS:
            with suppress(UnicodeDecodeError):
                return _dialect(path, encoding)
    return {}


def as_written(path: Path, names: list[str]) -> pd.DataFrame:
    """Some columns of a table as text, to the letter: nothing is a number, and nothing is missing but ``""``.

    Parameters
    ----------
    path : Path
    names : list of str

    Returns
    -------
    DataFrame of shape (n_samples, len(names))
    """
    if _is_parquet(path):
        return read_table(path, free=names)[names]
    return _read_csv(path, dtype=str, usecols=names, keep_default_na=False, index_col=False)[names]


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong with any file into a line for its user."""
    try:
        yield
    except FileNotFoundError:
        siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"{path} does not exist.{near(path.name, siblings)}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder. Give a CSV or Parquet file.") from None
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:  # the last of a password
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    with _readable(path), warnings.catch_warnings():
        # Rows longer than the header would otherwise lose their last fields.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        for encoding in ENCODINGS:
            try:
                frame = _parsed(path, encoding=encoding, **_dialect(path, encoding), **options)
            except UnicodeDecodeError:
                continue
            except pd.errors.EmptyDataError:
                raise InputError(f"{path} is empty. Give a table with a header and rows.") from None
            except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
                raise InputError(_malformed(path, str(error))) from error
            if encoding != ENCODINGS[0]:
                warnings.warn(
                    f"{path} is not UTF-8, and was read as CP949 (Korean). Where letters are wrong, save it as UTF-8.",
                    stacklevel=3,
                )
            return frame
    raise InputError(f"{path} is text in neither UTF-8 nor CP949. Save it as UTF-8, or as Parquet.")


def _dialect(path: Path, encoding: str) -> dict[str, str]:
    """What separates the columns, as the header shows, and with semicolons the decimals, as most numbers show."""
    as_text: dict[str, Any] = {"encoding": encoding, "dtype": str, "keep_default_na": False}
    widths = {}
    for sign in ",;\t":
        header = _parsed(path, sep=sign, header=None, nrows=1, **as_text).iloc[0].astype(str)
        widths[sign] = 0 if header.str.contains('"').any() else len(header)  # torn apart within quotes
    separator = max(widths, key=lambda sign: widths[sign])
    if separator != ";":
        return {"sep": separator}
    cells = _parsed(path, sep=separator, nrows=_N_LOOKED_AT, **as_text).to_numpy().ravel().astype(str)
    commas, points = (sum(bool(re.fullmatch(rf"[+-]?\d*[{sign}]\d+", cell.strip())) for cell in cells) for sign in ",.")
    return {"sep": separator, "decimal": "," if commas > points else "."}


def _parsed(path: Path, **options: Any) -> pd.DataFrame:
    with _opened(path) as source:
        return pd.read_csv(source, **options)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """What pandas is to read: the one table of an archive, whatever a Mac puts beside it."""
    if path.suffix.lower() != ".zip":
        yield path
        return
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not re.search(r"(^|/)(\.(?!/)|__MACOSX/)|/$", name)]
        if len(names) != 1:
            raise InputError(f"{path} holds {len(names)} files: {names[:5]}. Give an archive of one table.")
        yield io.BytesIO(archive.read(names[0]))


def _malformed(path: Path, message: str) -> str:
    """Where a CSV breaks off, from pandas' words for it."""
    if "Length of header" in message:
        return f"{path}, line 2: more fields than the header has names. Give every column a name."
    fields = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if fields:
        return (
            f"{path}, line {fields[2]}: expected {fields[1]} fields, found {fields[3]}. "
            "Mend the line, or put text with commas in quotes."
        )
    quote = re.search(r"EOF inside string starting at row (\d+)", message)
    if quote:
        return f"{path}, line {int(quote[1]) + 1}: a quote is opened and never closed. Mend the line."
    return f"{path} is not a CSV file: {message.strip()}."


def _read_parquet(path: Path) -> pd.DataFrame:
    parquet = needed("pyarrow.parquet", needed_by=f"Reading {path.name}", extra="parquet")
    with _readable(path):
        try:
            frame = parquet.read_table(path).to_pandas()
        except ValueError as error:  # pyarrow's errors for malformed files
            raise InputError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    named = any(name is not None for name in frame.index.names)
    return frame.reset_index(drop=not named).rename(columns=str)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place once everything is written.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Path
        With the same suffixes; removed again if anything goes wrong.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_free(path: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse, before the work, to replace a file unasked, and one that is read whatever is asked.

    Parameters
    ----------
    path : Path
        Where a file is to be written.
    overwrite : bool
    inputs : iterable of Path

    Raises
    ------
    InputError
    """
    read = path.exists() and any(other.exists() and path.samefile(other) for other in inputs)
    if path.exists() and (read or not overwrite):
        raise InputError(f"{path} exists. Give another name{'' if read else ', or --overwrite'}.")


def output_path(path: str | Path) -> Path:
    """Where a file is to be written, refused before the work if it cannot be.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If it is a folder, or lies in one that does not exist.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Name a file in it.")
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: the folder {path.parent} does not exist. Make it first.")
    return path


def write_table(frame: pd.DataFrame, path: Path, **dialect: Any) -> None:
    """Write a table without its row numbers, by the suffix of ``path`` as Parquet or as CSV in UTF-8.

    Parameters
    ----------
    frame : DataFrame
    path : Path
        CSV is compressed if it ends in ``.gz``, ``.bz2``, ``.xz`` or ``.zip``.
    **dialect : str
        Of CSV, from :func:`read_dialect`; commas and points by default.

    Raises
    ------
    InputError
        If the file cannot be written, or its suffix is of neither.
    """
    if _is_parquet(path):
        needed("pyarrow", needed_by=f"Writing {path.name}", extra="parquet")
    elif path.is_dir():
        raise InputError(f"{path} is a folder. Name a file.")
    elif path.suffix.lower() in _OTHERS:
        raise InputError(f"{path}: tables are written as .csv (or .csv.gz and others) and .parquet. Use one of these.")
    zipped: Any = (
        {"method": "zip", "archive_name": f"{path.stem.removesuffix('.csv')}.csv"}
        if path.suffix.lower() == ".zip"
        else "infer"
    )
    try:
        with replacing(path) as temporary:
            if _is_parquet(path):
                frame.to_parquet(temporary, engine="pyarrow", index=False)
            else:
                frame.to_csv(
                    temporary, index=False, encoding="utf-8", lineterminator="\n", compression=zipped, **dialect
                )  # fmt: skip
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
