from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rcframe.data.files import Layout, absent, check_labels, complete, damaged
from rcframe.errors import RequestError

PLAIN = Layout("plain", ("a", "b"))
PACKED = Layout("packed", ("a", "b"), suffixes=("", ".gz"))


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_layout_is_complete_when_every_file_is_there(tmp_path: Path) -> None:
    assert complete([PLAIN, PACKED], tmp_path) is None
    put(tmp_path, "plain/a")
    assert PLAIN.missing(tmp_path) == ("b",)
    put(tmp_path, "packed/a.gz", "packed/b")
    assert complete([PLAIN, PACKED], tmp_path) is PACKED
    put(tmp_path, "plain/b")
    assert complete([PLAIN, PACKED], tmp_path) is PLAIN


def test_a_plain_file_is_preferred_to_a_packed_one(tmp_path: Path) -> None:
    put(tmp_path, "packed/a.gz", "packed/b.gz", "packed/b")
    assert PACKED.path(tmp_path, "a") == tmp_path / "packed/a.gz"
    assert PACKED.path(tmp_path, "b") == tmp_path / "packed/b"
    assert PACKED.path(tmp_path, "c") == tmp_path / "packed/c"


def test_absent_files_are_named_with_their_folder_and_the_ways_out(tmp_path: Path) -> None:
    text = str(absent("things", [PLAIN, PACKED], tmp_path, ", or ask nicely"))
    for part in (
        f"The files of `things` are not below `{tmp_path}`",
        "`a`, `b` in `plain`, or `a`, `b` (or `.gz`) in `packed`",
        "`--data-root`",
        "`RCFRAME_DATA`, or ask nicely.",
    ):
        assert part in text


def test_folders_that_may_hold_the_same_files_are_named_together(tmp_path: Path) -> None:
    text = str(absent("things", [Layout("here", ("a",)), Layout("there", ("a",)), Layout("", ("a",))], tmp_path))
    assert "expected `a` in `here` or `there` or that folder itself." in text


def test_of_a_folder_that_is_begun_only_the_lacking_files_are_named(tmp_path: Path) -> None:
    put(tmp_path, "packed/b.gz")
    text = str(absent("things", [PLAIN, PACKED], tmp_path))
    assert "`packed` lacks `a`." in text
    assert "plain" not in text


def test_damage_names_the_file_and_the_reason() -> None:
    error = damaged(Path("some/file"), "it is empty")
    assert isinstance(error, RequestError)
    assert str(error) == "`some/file` is damaged: it is empty. Replace the file."


@pytest.mark.parametrize(("low", "high"), [(-1, 2), (0, 3)])
def test_labels_that_name_no_class_are_damage(low: int, high: int) -> None:
    check_labels(Path("fine"), torch.tensor([0, 2]), 3)
    check_labels(Path("empty"), torch.tensor([], dtype=torch.int64), 3)
    with pytest.raises(RequestError, match=rf"`labels` .* from {low} to {high}, expected 0 to 2"):
        check_labels(Path("labels"), torch.tensor([1, low, high]), 3)
