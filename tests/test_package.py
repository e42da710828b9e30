"""Rules for the package as a whole: who imports whom, what an import costs, docstrings and encodings."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tabkd

PACKAGE = Path(tabkd.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in FILES]
MODULES = [name.removesuffix(".__init__") for name in MODULES]
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in zip(MODULES, FILES, strict=True)}

#: From the bottom up: a module imports from layers below its own only.
LAYERS = [
    {
        *("tabkd", "tabkd._compat", "tabkd.checks", "tabkd.confusion", "tabkd.numerals", "tabkd.runtime_text"),
        *("tabkd.stored", "tabkd.words"),
    },
    {"tabkd.runtime"},
    {"tabkd.targets", "tabkd.files", "tabkd.heldout", "tabkd.thresholds"},
    {"tabkd.links", "tabkd.frames", "tabkd.families"},
    {"tabkd.column", "tabkd.folds", "tabkd.target_column"},
    {"tabkd.columns", "tabkd.twins", "tabkd.adapter", "tabkd.per_column"},
    {"tabkd.boosters", "tabkd.encodings", "tabkd.munge", "tabkd.impute", "tabkd.privileged"},
    {"tabkd.students", "tabkd.imputer", "tabkd.text_spans"},
    {"tabkd.learners"},
    {"tabkd.crossfit", "tabkd.models"},
    {"tabkd.rows", "tabkd.scoring", "tabkd.diagnose", "tabkd.export.graph", "tabkd.export.lookups"},
    {"tabkd.selection", "tabkd.settings", "tabkd.teaching", "tabkd.transfer", "tabkd.deployed"},
    {"tabkd.generations", "tabkd.readings", "tabkd.export.trees", "tabkd.export.table"},
    {"tabkd.averages", "tabkd.export.tree_nodes"},
    {"tabkd.export.categories", "tabkd.export.compare"},
    {
        *(f"tabkd.export.from_{library}" for library in ("catboost", "lightgbm", "sklearn", "xgboost")),
        *("tabkd.export.inputs", "tabkd.export.convert", "tabkd.export.head", "tabkd.export.inverses"),
    },
    {"tabkd.export.steps", "tabkd.export.imputed"},
    {"tabkd.export.answers", "tabkd.export.pipelines"},
    {"tabkd.export.models"},
    {"tabkd.export.boundaries", "tabkd.export.parity", "tabkd.export.described"},
    {"tabkd.export.plain"},
    {"tabkd.export.write", "tabkd.export.web", "tabkd.export.c_templates"},
    {"tabkd.export.mobile", "tabkd.export.c_program", "tabkd.export.kotlin_program"},
    {"tabkd.export"},
    {"tabkd.recipe"},
    {"tabkd.holdout", "tabkd.peers"},
    {"tabkd.estimator", "tabkd.mutual", "tabkd.studies", "tabkd.elimination"},
    {"tabkd.spaces", "tabkd.trials", "tabkd.budget", "tabkd.blend"},
    {"tabkd.stages"},
    {"tabkd.search"},
    {"tabkd.evaluate"},
    # The neural part stands on soft targets alone; estimators know it by its tags.
    {
        *("tabkd.neural", "tabkd.neural.outputs", "tabkd.neural.maps", "tabkd.neural.functions"),
        *("tabkd.neural.loading", "tabkd.neural.networks"),
        *("tabkd.neural.empty", "tabkd.neural.widths", "tabkd.neural.fingerprints"),
    },
    {
        *("tabkd.neural.relations", "tabkd.neural.base", "tabkd.neural.reading", "tabkd.neural.layers"),
        *("tabkd.neural.corpus", "tabkd.neural.squad", "tabkd.neural.fine_tuned"),
    },
    {"tabkd.neural.vocabulary", "tabkd.neural.vector_terms", "tabkd.neural.pairs", "tabkd.neural.agreement"},
    {"tabkd.neural.parity"},
    {"tabkd.neural.quantize"},
    {"tabkd.neural.onnx"},
    {"tabkd.neural.onnx_spans"},
    {"tabkd.neural.relational_terms", "tabkd.neural.pretraining_terms"},
    {"tabkd.neural.terms"},
    {"tabkd.neural.stages", "tabkd.neural.distiller", "tabkd.neural.embedder", "tabkd.neural.spans"},
    {"tabkd.neural.exits", "tabkd.neural.lesson", "tabkd.neural.trainer"},
    {"tabkd.neural.recipes", "tabkd.neural.training", "tabkd.neural.tasks"},
    {"tabkd.neural.teachers", "tabkd.neural.courses"},
    {"tabkd.neural.trainable"},
    {"tabkd.neural.estimator", "tabkd.neural.answering"},
    {"tabkd.neural.text", "tabkd.neural.module", "tabkd.neural.pretraining", "tabkd.neural.embedding"},
    {"tabkd.neural.table_reader", "tabkd.neural.table_models", "tabkd.neural.table_training"},
    {"tabkd.neural.table_nodes"},
    {"tabkd.neural.table_network"},
    {"tabkd.neural.tables"},
]
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}
SEARCH = {"tabkd.search", "tabkd.spaces", "tabkd.stages", "tabkd.studies"}
NEURAL = {"torch", "transformers"}
OPTIONAL = NEURAL | {"optuna", "onnx", "catboost", "lightgbm", "xgboost", "polars", "pyarrow", "matplotlib", "dask"}


def top_level(tree):
    """Statements that run on import, those under ``if TYPE_CHECKING`` left out."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node


def imported(nodes):
    """Names of the modules that some statements import."""
    for node in nodes:
        for part in ast.walk(node):
            if isinstance(part, ast.Import):
                yield from (alias.name for alias in part.names)
            elif isinstance(part, ast.ImportFrom):
                assert part.level == 0, "imports are absolute"
                yield from (
                    f"{part.module}.{alias.name}" if f"{part.module}.{alias.name}" in TREES else part.module
                    for alias in part.names
                )


def own_imports(name):
    """Modules of the package that ``name`` imports anywhere, for types apart."""
    return {module for module in imported(top_level(TREES[name])) if module.partition(".")[0] == "tabkd"}


@pytest.mark.parametrize("name", sorted(LAYER_OF))
def test_module_imports_lower_layers_only(name):
    upward = {other for other in own_imports(name) if LAYER_OF.get(other, len(LAYERS)) >= LAYER_OF[name]}
    assert not upward


def test_nothing_but_main_imports_the_command_line():
    guilty = {name for name in MODULES if "tabkd.cli" in own_imports(name)}
    assert guilty <= {"tabkd.__main__"}


@pytest.mark.parametrize("name", MODULES)
def test_optional_packages_are_imported_where_they_are_used(name):
    statements = [
        node for node in top_level(TREES[name]) if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Expr)
    ]
    # What they are made of, and nobody imports them but a search, or who asks for a transformer.
    allowed = {"optuna"} if name in SEARCH else NEURAL if name.startswith("tabkd.neural.") else set()
    assert not {module.partition(".")[0] for module in imported(statements)} & (OPTIONAL - allowed)


EXPORTING = {f"tabkd.neural.{name}" for name in ("onnx", "onnx_spans", "parity", "quantize", "table_nodes")}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("tabkd.neural.")])
def test_neural_modules_build_on_targets_alone_but_for_export(name):
    own = {module for module in own_imports(name) if not module.startswith("tabkd.neural")}
    exporting = {module for module in own if module.startswith(("tabkd.export", "tabkd.runtime", "tabkd.files"))}
    reading = {"tabkd.column", "tabkd.columns", "tabkd.frames"} if name.startswith("tabkd.neural.table") else set()
    left = own - (exporting | {"tabkd"} if name in EXPORTING else set()) - reading
    texts = {"tabkd.runtime_text"}  # taken to pieces as files do
    assert left <= texts | {"tabkd._compat", "tabkd.checks", "tabkd.targets", "tabkd.links", "tabkd.stored"}


@pytest.mark.parametrize("name", [n for n in MODULES if n not in SEARCH and not n.startswith("tabkd.cli")])
def test_only_a_search_imports_what_needs_optuna(name):
    assert not own_imports(name) & SEARCH


@pytest.mark.parametrize("name", [name for name in MODULES if name != "tabkd._compat"])
def test_private_names_of_scikit_learn_live_in_compat(name):
    private = {
        module
        for module in imported([TREES[name]])
        if module.startswith("sklearn") and any(part.startswith("_") for part in module.split("."))
    }
    assert not private


def loaded_by(statement):
    """Which of the heavy packages a fresh interpreter has loaded after ``statement``."""
    heavy = ("torch", "optuna", "onnx", "catboost", "lightgbm", "xgboost", "skl2onnx", "onnxruntime")
    code = f"import sys; {statement}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    return ast.literal_eval(done.stdout.strip())


def test_import_of_the_package_loads_nothing_heavy():
    assert loaded_by("import tabkd") == []


def test_import_of_the_package_loads_no_scikit_learn():
    assert loaded_by("import tabkd; assert 'sklearn' not in sys.modules and 'pandas' not in sys.modules") == []


def test_import_of_the_estimator_loads_no_library_of_models():
    assert loaded_by("from tabkd import DistilledEstimator") == []


@pytest.mark.parametrize("name", [name for name in tabkd.__all__ if not name.startswith("__")])
def test_public_names_are_loaded_on_demand(name):
    assert getattr(tabkd, name).__module__.startswith("tabkd.")


def test_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Distiled'"):
        _ = tabkd.Distiled


def test_listing_of_the_package_is_its_public_names():
    assert dir(tabkd) == sorted(tabkd.__all__)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_docstring_examples_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_module_has_a_docstring(name):
    assert ast.get_docstring(TREES[name])


def public_objects(name):
    """Public functions, classes and their public methods and properties, with where they are."""
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        thing = getattr(module, public)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)) or thing.__module__ != name:
            continue
        yield public, thing
        if inspect.isclass(thing):
            for attribute, value in vars(thing).items():
                if not attribute.startswith("_") and (callable(value) or isinstance(value, property | classmethod)):
                    yield f"{public}.{attribute}", getattr(thing, attribute)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_every_public_name_has_a_docstring(name):
    assert [where for where, thing in public_objects(name) if not inspect.getdoc(thing)] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ("tabkd.__main__", "tabkd")])
def test_module_lists_its_public_names(name):
    listed = getattr(importlib.import_module(name), "__all__", None)
    assert listed is not None
    assert sorted(listed) == sorted(set(listed))


def opens_text_without_encoding(call):
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called not in ("open", "read_text", "write_text"):
        return False
    mode = next((word.value for word in call.keywords if word.arg == "mode"), None)
    constants = [mode, *call.args] if mode is not None else call.args
    binary = any(
        isinstance(part, ast.Constant) and isinstance(part.value, str) and "b" in part.value and len(part.value) <= 3
        for part in constants
    )
    return not binary and not any(word.arg == "encoding" for word in call.keywords)


@pytest.mark.parametrize("name", MODULES)
def test_every_open_names_its_encoding(name):
    calls = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)]
    assert [ast.unparse(call) for call in calls if opens_text_without_encoding(call)] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name.rpartition(".")[2] not in ("cli", "__main__")])
def test_nothing_is_printed(name):
    calls = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)]
    assert not [call for call in calls if getattr(call.func, "id", "") == "print"]
