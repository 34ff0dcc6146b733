from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from rcframe.errors import RequestError
from rcframe.experiments.absent import refuse_without_data
from rcframe.experiments.conduct import Request, carry_out
from rcframe.experiments.matrix_file import MatrixFile, parse_matrix
from rcframe.experiments.plan import make_plan
from tests.data.published_files import write_cifar10, write_cifar100
from tests.experiments.engines import TINY


def matrix(*data: str, **run: object) -> MatrixFile:
    shared = {key: value for key, value in TINY.items() if key != "data"}
    return parse_matrix({"seeds": 2, "run": {**shared, **run}, "vary": {"data": list(data)}}, "title", "here")


def request(folder: Path, data_root: Path | None = None, dry_run: bool = False) -> Request:
    return Request(folder=folder, engine="local", command="test", data_root=data_root, dry_run=dry_run, quiet=True)


def test_absent_data_is_told_of_once_with_what_to_do_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCFRAME_DATA", str(tmp_path / "data"))
    with pytest.raises(RequestError) as refused:
        carry_out(matrix("cifar10", "digits", "cifar100"), request(tmp_path / "out"))
    text = str(refused.value)
    assert text.startswith("Nothing was started: 4 of 6 runs need data that is not here.\nThe files of `cifar10` are")
    # A line for each data set between what is wrong and what to do.
    assert len(text.splitlines()) == 4
    assert text.splitlines()[-1] == "Choose the folder with `--data-root` or the variable `RCFRAME_DATA`."
    assert text.count("`--data-root`") == 1
    for words in (f"`{tmp_path}/data`", "`data_batch_1.bin`", "`cifar-10-batches-py`", "`train.bin`", "show cifar100:"):
        assert text.count(words) == (2 if words.endswith("data`") else 1), words
    assert not (tmp_path / "out").exists()


def test_a_folder_of_ones_own_has_its_own_advice(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="expects images in PATH/train/CLASS") as refused:
        refuse_without_data(make_plan(matrix(f"folder:{tmp_path / 'pets'}")).runs)
    assert "--data-root" not in str(refused.value)


def test_a_folder_of_data_that_is_not_there_is_told_of_even_if_none_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    shown = attrs.evolve(request(tmp_path / "out", tmp_path / "there", dry_run=True), quiet=False)
    for asked in (shown, attrs.evolve(shown, data_root=tmp_path / "nowhere")):
        carry_out(matrix("digits"), asked)
    assert capsys.readouterr().err == (
        f"There is no folder `{tmp_path}/nowhere`, which --data-root names: no file of a data set is found there.\n"
    )


def test_a_plan_is_shown_without_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCFRAME_DATA", str(tmp_path))
    assert carry_out(matrix("cifar10"), request(tmp_path / "out", dry_run=True)) is None


def test_data_that_is_in_the_folder_that_was_named_is_found_there(tmp_path: Path) -> None:
    write_cifar10(tmp_path, 2)
    plan = make_plan(matrix("cifar10", data_root=str(tmp_path / "elsewhere")))
    with pytest.raises(RequestError, match="elsewhere"):
        refuse_without_data(plan.runs)
    moved = plan.reading(tmp_path)
    refuse_without_data(moved.runs)
    assert [run.config.data_root for run in moved.runs] == [str(tmp_path)] * 2
    assert [run.id for run in moved.runs] == [run.id for run in plan.runs]
    assert plan.reading(None) is plan


def test_the_folder_of_the_data_may_be_named_from_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (run, _) = make_plan(matrix("cifar10")).reading(Path("here")).runs
    assert run.config.data_root == str(tmp_path / "here")


def test_extra_images_are_looked_for_too_and_downloads_are_believed_in(tmp_path: Path) -> None:
    write_cifar10(tmp_path, 2)
    root = str(tmp_path)
    with pytest.raises(RequestError, match=r"2 of 2 runs .*\nThe files of `cifar100` are not below"):
        refuse_without_data(make_plan(matrix("cifar10:extra=cifar100", data_root=root)).runs)
    refuse_without_data(make_plan(matrix("cifar100:download=true", "cifar10", data_root=root)).runs)
    write_cifar100(tmp_path, 2)
    refuse_without_data(make_plan(matrix("cifar10:extra=cifar100", data_root=root)).runs)


def test_runs_that_are_done_need_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCFRAME_DATA", str(tmp_path))
    one = matrix("cifar10")
    for run in make_plan(one).runs:
        folder = tmp_path / "out" / "runs" / run.id
        folder.mkdir(parents=True)
        (folder / "report.json").write_text("{}")
    (tmp_path / "out" / "matrix.json").write_text("{}")
    record = carry_out(one, request(tmp_path / "out"))
    assert record is not None
    assert [row.status for row in record.rows] == ["done", "done"]
