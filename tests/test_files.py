"""Tables from files and back."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import tabkd._compat
from tabkd.files import InputError, read_table, replacing, write_table
from tabkd.words import near

KOREAN = pd.DataFrame({"번호": [1, 2], "도시": ["서울", "부산"]})


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_table(path)
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_reads_the_same_in_each_encoding(tmp_path: Path, encoding: str) -> None:
    KOREAN.to_csv(tmp_path / "t.csv", index=False, encoding=encoding)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), KOREAN)


def test_a_csv_in_another_encoding_is_read_as_korean_with_a_word(tmp_path: Path) -> None:
    KOREAN.to_csv(tmp_path / "t.csv", index=False, encoding="cp949")
    with pytest.warns(UserWarning, match="is not UTF-8, and was read as CP949"):
        pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), KOREAN)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_a_table_survives_writing_and_reading(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    write_table(KOREAN, tmp_path / name)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), KOREAN)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_free_text_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    texts = ["NA", "", "007", " null"]
    pd.DataFrame({"n": [1, 2, 3, 4], "t": texts}).to_csv(tmp_path / "t.csv", index=False, encoding="utf-8")
    pd.DataFrame({"n": [1, 2, 3, 4], "t": ["NA", None, "007", " null"]}).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / name, free=["t"])["t"].tolist() == texts


def test_identifiers_keep_their_leading_zeros(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,a\n007,1\n", encoding="utf-8")
    assert read_table(tmp_path / "t.csv", text=["id"])["id"].tolist() == ["007"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n3,4,5\n", "line 3: expected 2 fields, found 3"),
        ("a,b\n1,2,3\n4,5,6\n", "line 2: more fields than the header"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: a quote is opened"),
        ("", "is empty"),
        ("a,b\n", "no rows"),
        ("a,a\n1,2\n", "['a'] occur more than once"),
    ],
)
def test_a_malformed_csv_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    message = refused(path)
    assert str(path) in message and said in message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv.gz", b"not gzip", "cannot be read"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9999)[:40], "cannot be read"),
        ("t.csv.zip", b"not zip", "cannot be read"),
        ("t.csv", bytes(range(128, 256)), "neither UTF-8 nor CP949"),
    ],
    ids=["not gzip", "half a gzip", "not zip", "no text"],
)
def test_an_unreadable_file_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in refused(tmp_path / name)


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_bytes(b"junk")
    assert "is not a Parquet file" in refused(tmp_path / "t.parquet")


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    assert "Did you mean 'train.csv'?" in refused(tmp_path / "trian.csv")


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ImportError(module)

    monkeypatch.setattr(tabkd._compat.importlib, "import_module", absent)
    assert "pip install 'tabkd[parquet]'" in refused(tmp_path / "t.parquet")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert [(p.name, p.read_text(encoding="utf-8")) for p in tmp_path.iterdir()] == [("t.csv", "old")]


def test_near_finds_names_whatever_their_case() -> None:
    assert near("y_lable", ["ID", "Y_LABEL"]) == " Did you mean 'Y_LABEL'?"


def test_the_one_table_of_an_archive_is_read_whatever_a_mac_puts_beside_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("data/", "")
        archive.writestr("./t.csv", KOREAN.to_csv(index=False))
        archive.writestr("__MACOSX/data/._t.csv", "junk")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.zip"), KOREAN)


def test_an_archive_of_two_tables_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("a.csv", "x\n1\n")
        archive.writestr("b.csv", "x\n1\n")
    with pytest.raises(InputError, match=r"holds 2 files: \['a.csv', 'b.csv'\]"):
        read_table(tmp_path / "t.zip")


def test_a_written_archive_holds_a_table_of_its_name(tmp_path: Path) -> None:
    write_table(KOREAN, tmp_path / "p.csv.zip")
    assert zipfile.ZipFile(tmp_path / "p.csv.zip").namelist() == ["p.csv"]


@pytest.mark.parametrize(("name", "said"), [("p.xlsx", "tables are written as"), (".", "is a folder")])
def test_a_table_is_written_as_its_suffix_says_or_not_at_all(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        write_table(KOREAN, tmp_path / name)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.zip"])
@pytest.mark.parametrize(("separator", "decimal"), [(";", "."), (";", ","), ("\t", ".")])
def test_another_separator_is_read_from_the_header(tmp_path: Path, separator: str, decimal: str, name: str) -> None:
    table = KOREAN.assign(share=[0.5, 12.25], note=["a, b", "1.5; 2"])
    table.to_csv(tmp_path / name, sep=separator, decimal=decimal, index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), table)


def test_a_comma_in_a_name_is_no_separator(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id;x, mm;y\n0;0,5;1\n", encoding="utf-8")
    assert read_table(tmp_path / "t.csv").to_dict("list") == {"id": [0], "x, mm": [0.5], "y": [1]}


def test_semicolons_within_quotes_are_no_separators(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,"b;c;d"\n1,2\n', encoding="utf-8")
    assert read_table(tmp_path / "t.csv").to_dict("list") == {"a": [1], "b;c;d": [2]}


def test_a_column_that_is_alone_may_hold_semicolons_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("note\na;b\nc\n", encoding="utf-8")
    assert read_table(tmp_path / "t.csv")["note"].tolist() == ["a;b", "c"]
