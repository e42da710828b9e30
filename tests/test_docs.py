"""The documentation runs, prints what it says it prints, and names what is public."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
PAGES = [
    ROOT / "README.md",
    *(
        DOCS / f"{name}.md"
        for name in ("guide", "choosing", "check", "budget", "search", "blend", "transfer", "mutual")
    ),
    *(DOCS / f"{name}.md" for name in ("export", "neural", "embeddings", "question-answering", "across-kinds")),
]
LINKING = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(DOCS.glob("*.md"))]
#: A python block, and the text block under it that says what is printed.
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
#: Versions of the libraries differ in digits that the text does not rest on.
TOLERANCE = 0.05


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_code_blocks_run_and_print_what_stands_under_them(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    namespace = {"__name__": page.stem}
    for block in BLOCK.finditer(text):
        code, expected = block.groups()
        # Line numbers of the page, for tracebacks.
        source = "\n" * text.count("\n", 0, block.start(1)) + code
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(source, str(page), "exec"), namespace)
        if expected is not None:
            got = printed.getvalue()
            assert re.sub(r"\s+", " ", NUMBER.sub("#", got)) == re.sub(r"\s+", " ", NUMBER.sub("#", expected))
            numbers = [[float(number) for number in NUMBER.findall(part)] for part in (got, expected)]
            assert numbers[0] == pytest.approx(numbers[1], abs=TOLERANCE)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out or any(tmp_path.iterdir())


def test_diagram_of_pairs_is_what_its_script_draws():
    script = runpy.run_path(str(DOCS / "examples" / "draw_pairs.py"))
    assert script["draw"]() == (DOCS / "img" / "pairs.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "module",
    [
        "tabkd",
        *(f"tabkd.{name}" for name in ("targets", "links", "frames", "columns", "students", "export", "runtime")),
        "tabkd.neural",
    ],
)
def test_api_page_names_every_public_name(module):
    sections = re.split(r"^## ", (DOCS / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = [part for part in sections if part.startswith(f"`{module}`")]
    missing = [name for name in importlib.import_module(module).__all__ if f"`{name}" not in section]
    assert not missing


def test_api_page_names_every_parameter_with_its_default():
    from tabkd import DistilledEstimator

    text = (DOCS / "api.md").read_text(encoding="utf-8")
    params = DistilledEstimator(None, None).get_params(deep=False)
    for name in ("teacher", "student"):
        del params[name]
        assert f"| `{name}` | |" in text
    missing = [name for name, value in params.items() if f"| `{name}` | `{value!r}` |".replace("'", '"') not in text]
    assert not missing


@pytest.mark.parametrize("page", LINKING, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, target
