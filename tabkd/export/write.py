"""``to_onnx``: build the graph, prove it, write the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabkd._compat import take_rows
from tabkd.averages import FittedAverage
from tabkd.columns import ColumnEncoder
from tabkd.export.answers import Texts
from tabkd.export.boundaries import raw_thresholds
from tabkd.export.described import sealed
from tabkd.export.graph import Graph
from tabkd.export.head import add_outputs, add_predictions, cut_of, tie_of
from tabkd.export.imputed import add_imputed, imputed_widths, imputer_trees
from tabkd.export.inputs import Inputs
from tabkd.export.models import add_scores, add_tree_scores, scoring_trees
from tabkd.export.parity import EXTREMES, ParityError, adversarial_rows, prove
from tabkd.export.pipelines import add_prepared
from tabkd.export.plain import check_made_rows, fitted_model_of, is_plain
from tabkd.export.trees import Trees, merge, offset_features
from tabkd.families import family
from tabkd.files import output_path, replacing
from tabkd.frames import as_table
from tabkd.imputer import Imputer
from tabkd.learners import Member
from tabkd.models import FittedModel
from tabkd.runtime import OnnxPredictor

__all__ = ["to_onnx", "tree_thresholds"]

FORMAT = 1
_N_SAMPLE = 16
_PRECISIONS: dict[str, type] = {"float32": np.float32, "float64": np.float64}


def to_onnx(
    model: Any,
    path: str | Path,
    *,
    X: Any = None,
    inputs: str = "columns",
    precision: str = "float32",
    compact: bool = False,
) -> Path:
    """Write a fitted model as one ONNX file that answers exactly as Python does.

    Before anything is written, the file's answers are compared with Python's on ``X`` and on rows made to find
    differences: every threshold of every tree with both of its float32 neighbours, NaN, infinities, missing and
    unseen categories, many rows at once and one by one. The proof stands in the file.

    Parameters
    ----------
    model : DistilledEstimator, BlendedEstimator, MutualDistilledEstimator, their ``student_``, or a plain estimator
        Fitted. Plain are LightGBM, XGBoost, CatBoost and scikit-learn estimators and pipelines.
    path : str or Path
    X : table of shape (n_samples, n_features), optional
        Rows to replay too. A plain estimator that reads text columns needs some, for their names and texts, and one
        that answers float64 otherwise than float32 some of the type that it was fitted on.
    inputs : {"columns", "matrix"}
        One typed ``[N, 1]`` input per column under its own name, or one float32 ``[N, F]`` input ``features`` in which
        a category is its code: faster for callers who have a matrix.
    precision : {"float32", "float64"}
        What is computed and answered in; ``"float64"`` needs onnxruntime 1.24 for trees other than CatBoost's
        oblivious ones.
    compact : bool
        Fewer bytes for such trees, with the same need.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the model has a part that cannot be exported exactly, or the answers differ (``ParityError``).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lightgbm import LGBMClassifier
    >>> from sklearn.datasets import load_breast_cancer
    >>> from tabkd.export import to_onnx
    >>> from tabkd.runtime import OnnxPredictor
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> model = LGBMClassifier(n_estimators=10, verbose=-1).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = to_onnx(model, Path(folder) / "model.onnx", X=X)
    ...     OnnxPredictor(path).predict(X[:3]).tolist()
    [0, 0, 0]
    """
    path = output_path(path)
    if inputs not in ("columns", "matrix"):
        raise ValueError(f'inputs must be "columns" or "matrix", got {inputs!r}.')
    if precision not in _PRECISIONS:
        raise ValueError(f'precision must be "float32" or "float64", got {precision!r}.')
    given = None if X is None else as_table(X)
    fitted = fitted_model_of(model, given)
    if fitted.classes is not None:
        _check_labels(fitted.classes)
    readings = [_Reading.of(model, given) for model in _models(fitted)]
    graph, columns = _built(fitted, readings, inputs, _PRECISIONS[precision], compact)
    outputs = [info.name for info in graph.outputs]
    described: dict[str, Any] = {
        "format": FORMAT,
        "task": "regression" if fitted.classes is None else "classification",
        "inputs": inputs,
        "columns": columns.described,
        "outputs": outputs,
        "versions": _versions(fitted),
        "opsets": dict(graph.opsets),
    }
    if fitted.classes is not None:
        threshold = cut_of(fitted, graph.dtype)
        described |= {"classes": fitted.classes.tolist(), "threshold": threshold}
        if threshold is None and tie_of(fitted):
            described["tie"] = tie_of(fitted)
    made = graph.model()
    thresholds = _thresholds(fitted, readings)
    if given is None and not thresholds and is_plain(model):
        raise ValueError(
            f"{type(model).__name__} has no thresholds that would tell which numbers to prove the file on. Give some "
            "rows, to_onnx(model, path, X=X)."
        )
    tables = _tables(fitted, given, thresholds)
    if is_plain(model):
        check_made_rows(model, fitted, tables[-1], given)
    try:
        predictor, n_thresholds = OnnxPredictor(sealed(made, described)), sum(map(len, thresholds.values()))
        proof = prove(fitted, predictor, tables, n_thresholds)
    except ParityError as error:
        if columns.coded_numbers:
            raise ParityError(
                f"{error} It may be due to {columns.coded_numbers}, categories that are numbers: a matrix holds their "
                'codes, and none for numbers never seen, which a pipeline may read all the same. Give inputs="columns".'
            ) from error
        if graph.steep and graph.dtype is np.float32:
            raise ParityError(
                f"{error} It may be due to an isotonic calibration, whose curve is steeper than float32 resolves. Give "
                "precision='float64', or calibrate with method='sigmoid'."
            ) from error
        if not graph.converted:
            raise
        raise ParityError(
            f"{error} It may be due to {graph.converted}, converted by skl2onnx, which rounds, or sends gaps, "
            "otherwise than scikit-learn. Leave a step out before trees, which need no scaling, or take another model."
        ) from error
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):  # whose errors have no base of their own
            raise
        raise ValueError(
            f"{type(model).__name__} cannot be exported: the graph, with {graph.converted} converted by skl2onnx, does "
            f"not run ({str(error).rpartition(' : ')[2].strip()}). Use trees, a linear model or a network."
        ) from error
    described["proof"] = asdict(proof)
    with replacing(path) as temporary:
        temporary.write_bytes(sealed(made, described))
    return path


def tree_thresholds(model: FittedModel | FittedAverage) -> dict[int, np.ndarray]:
    """The distinct thresholds of a model's trees, by column of its encoder."""
    return _thresholds(model, [_Reading.of(one, None) for one in _models(model)])


@dataclass(frozen=True)
class _Reading:
    """A model, its members as sums of trees, and some encoded rows.

    Trees read the encoded matrix and all imputed columns behind it; None stands for a member that is no sum of trees.
    """

    model: FittedModel
    parts: list[Trees | None]
    sample: Any

    @classmethod
    def of(cls, model: FittedModel, given: Any) -> _Reading:
        """Read the members."""
        encoder = model.encoder
        texts = {i: ["", *c.categories] for i, c in enumerate(encoder.columns) if c.name in encoder.as_text}
        ends = len(encoder.sources) + np.cumsum([0, *imputed_widths(model.members)])
        own = [np.arange(start, end) for start, end in pairwise(ends)]
        parts = [_trees_of(member, ends, mine, texts) for member, mine in zip(model.members, own, strict=True)]
        return cls(model, parts, _sample(model, given))

    def thresholds(self) -> Iterator[tuple[int, np.ndarray]]:
        """Columns of the model's table, and thresholds that stand there."""
        encoder = self.model.encoder
        for member, part in zip(self.model.members, self.parts, strict=True):
            if part is None:
                numeric = [i for i, column in enumerate(encoder.columns) if column.kind in ("number", "integer")]
                found = raw_thresholds(member, self.sample, numeric)
            else:
                found = {} if part is None else part.thresholds()
            imputer = imputer_trees(member, encoder)
            for feature, values in [*found.items(), *({} if imputer is None else imputer.thresholds()).items()]:
                if feature < len(encoder.sources):
                    yield encoder.sources[feature], values


def _check_labels(classes: np.ndarray) -> None:
    """Refuse labels that no tensor holds: dates, say, or whole numbers beyond int64."""
    kind = classes.dtype.kind
    text = kind in "UT" or (kind == "O" and all(isinstance(label, str) for label in classes))
    if not (text or kind in "bif" or (kind == "u" and classes.max() <= np.iinfo(np.int64).max)):
        raise ValueError(
            f"The labels are {classes.dtype}, such as {classes[-1]}, which no file holds. Make text of them before fit."
        )


def _models(fitted: FittedModel | FittedAverage) -> Sequence[FittedModel]:
    return fitted.models if isinstance(fitted, FittedAverage) else [fitted]


def _thresholds(fitted: FittedModel | FittedAverage, readings: Sequence[_Reading]) -> dict[int, np.ndarray]:
    places = {position: place for place, position in enumerate(fitted.encoder.positions)}
    by_column: dict[int, list[np.ndarray]] = {}
    for reading in readings:
        for column, values in reading.thresholds():
            by_column.setdefault(places[reading.model.encoder.positions[column]], []).append(values)
    return {column: np.unique(np.concatenate(values)) for column, values in by_column.items()}


def _sample(model: FittedModel, given: Any) -> Any:
    """Some encoded rows, of the types that the model reads."""
    encoder = model.encoder
    if given is None:
        texts = {i: c.categories for i, c in enumerate(encoder.columns) if c.name in encoder.as_text}
        given = adversarial_rows(encoder.columns, {}, texts, extreme=(), unseen=False, missing=(), typed=True)
    rows = {*range(min(len(given), _N_SAMPLE))}
    if isinstance(given, pd.DataFrame):  # and one with a gap, for each column that has any
        rows |= {int(np.argmax(gaps)) for _, column in given.items() if (gaps := column.isna().to_numpy()).any()}
    return encoder.transform(take_rows(given, sorted(rows)))


def _built(
    fitted: FittedModel | FittedAverage, readings: Sequence[_Reading], layout: str, dtype: type, compact: bool
) -> tuple[Graph, Inputs]:
    """The graph of all answers, and its inputs; as if not compact where some of its trees cannot be."""
    graph = Graph(dtype, compact=compact)
    inputs = Inputs(graph, fitted.encoder, layout)
    _add_answers(graph, fitted, inputs, readings)
    return _built(fitted, readings, layout, dtype, False) if compact and graph.mixes_trees else (graph, inputs)


def _add_answers(
    graph: Graph, fitted: FittedModel | FittedAverage, inputs: Inputs, readings: Sequence[_Reading]
) -> None:
    """Append the whole model, or all models and their mean."""
    if isinstance(fitted, FittedAverage):
        parts = [_add_model(graph, inputs.view(one.model.encoder), one) for one in readings]
        predictions = graph.weighted_mean([part for part, _ in parts], fitted.weights)
        n_outputs = parts[0][1]
    else:
        predictions, n_outputs = _add_model(graph, inputs, readings[0])
    add_outputs(graph, fitted, predictions, n_outputs)


def _add_model(graph: Graph, inputs: Inputs, reading: _Reading) -> tuple[str, int]:
    """Append one model; returns its predictions, and how many columns they have."""
    model, encoder = reading.model, reading.model.encoder
    trees = [part for part in reading.parts if part is not None]
    if len(trees) == len(reading.parts):
        merged = merge(trees)
        texts = [i for i, column in enumerate(encoder.columns) if column.name in encoder.as_text]
        imputed = [part.value for member in model.members for part in add_imputed(inputs, member)]
        features = inputs.features(merged.lookups, skipped=texts, more=imputed)
        read = _without(merged, np.setdiff1d(np.arange(merged.n_features), texts))
        scores = add_tree_scores(graph, features, read, model.link, model.classes)
        return add_predictions(graph, model, scores), merged.n_outputs
    scored = [add_scores(add_prepared(inputs, member, reading.sample), member.adapter) for member in model.members]
    predictions = add_predictions(graph, model, graph.mean(scored))
    if model.classes is not None:
        return predictions, len(model.classes)
    return predictions, model.members[0].raw(take_rows(reading.sample, [0])).shape[1]


def _trees_of(member: Member, ends: np.ndarray, imputed: np.ndarray, texts: Texts) -> Trees | None:
    if not all(isinstance(step, Imputer) for step in member.steps):
        return None
    support = np.concatenate([np.arange(ends[0]) if member.support is None else member.support, imputed])
    known = {k: texts[i] for k, i in enumerate(support.tolist()) if i in texts}
    trees = scoring_trees(member.adapter, len(support), known)
    return None if trees is None else offset_features(trees, support, int(ends[-1]))


def _without(trees: Trees, kept: np.ndarray) -> Trees:
    """The trees on the columns ``kept`` and the lookups alone."""
    if len(kept) == trees.n_features:
        return trees
    places = np.searchsorted(kept, np.arange(trees.n_features))
    return offset_features(trees, places, len(kept))


def _tables(model: FittedModel | FittedAverage, given: Any, thresholds: dict[int, np.ndarray]) -> list[pd.DataFrame]:
    """The rows given, and those made to find differences; extreme ones where the model takes them at all."""
    encoder = model.encoder
    texts = {i: c.categories for i, c in enumerate(encoder.columns) if c.name in encoder.as_text}
    tables = [] if given is None else [_frame(encoder, encoder.pick(given))]
    typed = encoder.encoding == "table"
    extremes = [EXTREMES if thresholds else (np.nan,), (np.nan,), ()]
    for (unseen, missing), extreme in product([(True, (None,)), (False, (None,)), (False, ())], extremes):
        adversarial = adversarial_rows(
            encoder.columns, thresholds, texts, extreme=extreme, unseen=unseen, missing=missing, typed=typed,
            held={} if unseen else _held(encoder, tables),
        )  # fmt: skip
        if typed:
            adversarial = _gaps_as_fitted(encoder, adversarial)
        if _accepts(model, adversarial):
            break
    return [*tables, adversarial]


def _accepts(model: FittedModel | FittedAverage, table: pd.DataFrame) -> bool:
    """Whether a model answers at all: some refuse what is not finite, or what they have not seen."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.predict(table)
    except ValueError:
        return False
    return True


def _gaps_as_fitted(encoder: ColumnEncoder, rows: pd.DataFrame) -> pd.DataFrame:
    """Missing texts as ``fit`` saw them, None or ``""``, as NaN elsewhere: pipelines tell one from the other."""
    made = rows.copy()
    for column in encoder.columns:
        cells = rows[column.name]
        if not pd.api.types.is_numeric_dtype(cells.dtype):
            gap = None if column.none else "" if column.empty else np.nan
            made[column.name] = cells.astype(object).where(cells.notna(), gap)
    return made


def _held(encoder: ColumnEncoder, tables: Sequence[pd.DataFrame]) -> dict[int, np.ndarray]:
    """The numbers of the tables, for an encoder that refuses any other."""
    numeric = [i for i, column in enumerate(encoder.columns) if column.kind in ("integer", "number", "boolean")]
    values = {i: np.unique(table.iloc[:, i].dropna().to_numpy()) for table in tables for i in numeric}
    return {i: numbers for i, numbers in values.items() if len(numbers)}


def _frame(encoder: ColumnEncoder, table: Any) -> pd.DataFrame:
    frame = pd.DataFrame(table)
    return frame.set_axis([column.name for column in encoder.columns], axis=1)


def _versions(model: FittedModel | FittedAverage) -> dict[str, str]:
    libraries = {family(member.adapter.estimator) for member in model.members}
    names = ["tabkd", "onnx", "scikit-learn", *sorted(libraries - {"sklearn"})]
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
