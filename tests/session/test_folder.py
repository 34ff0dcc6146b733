from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rcframe.errors import RequestError, RunFailed
from rcframe.files import write_text
from rcframe.networks.weights import Architecture, read_architecture, read_weights
from rcframe.session import folder as module
from rcframe.session.config import make_config
from rcframe.session.evidence import About, Evidence, read_evidence
from rcframe.session.folder import RunFolder, create_folder, fresh_folder, open_folder
from rcframe.session.session import Session, prepare_session
from rcframe.storage import locks
from rcframe.testing.toys import CLASSES, MODEL, SHAPE, trained_network

if TYPE_CHECKING:
    from tests.session.conftest import MakeReport

TINY: dict[str, object] = {
    "data": "glyphs:size=8,classes=3,train=24,test=12",
    "model": "convnet:channels=2+2,hidden=4",
    "device": "cpu",
}


EVIDENCE = Evidence(images="these", classes=("a", "b"), right={About("student", "clean"): np.array([True, False])})


def session_of(**settings: object) -> Session:
    return prepare_session(make_config({**TINY, **settings}), "rcframe run words")


@pytest.fixture(scope="module")
def session() -> Session:
    return session_of()


# -- coming into being ------------------------------------------------------------------------------------------------


def test_a_new_folder_comes_with_its_parents_and_its_configuration(tmp_path: Path, session: Session) -> None:
    folder = create_folder(tmp_path / "a" / "b", session)
    assert folder.path == tmp_path / "a" / "b"
    assert os.listdir(tmp_path / "a") == ["b"]
    assert os.listdir(folder.path) == ["run.toml"]
    document = tomllib.loads(folder.config.read_text())
    assert make_config(document) == make_config(tomllib.loads(folder.config.read_text()))
    assert (document["command"], document["device"], document["seed"]) == ("rcframe run words", "cpu", 0)
    assert document["model"]["channels"] == [2, 2]
    assert document["typed"]["model"] == ["convnet:channels=2+2,hidden=4"]
    assert {"python", "torch", "rcframe"} <= set(document["versions"])
    assert set(document["environment"]) == {"device", "threads", "processes", "platform"}


def test_others_may_look_into_a_new_folder(tmp_path: Path, session: Session) -> None:
    """As into one that mkdir makes; temporary folders are private."""
    assert create_folder(tmp_path / "out", session).path.stat().st_mode & 0o777 == 0o755


def test_an_existing_folder_is_refused_and_stays_as_it_is(tmp_path: Path, session: Session) -> None:
    (tmp_path / "file").write_text("kept")
    words = r"exists already\. Choose another with --out, remove it, or go on with the run in it: rcframe run --resume "
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(RequestError, match=words):
            create_folder(taken, session)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_cannot_be_created_is_named_with_the_reason(tmp_path: Path, session: Session) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"Cannot create the output folder `.*/file/out`: Not a directory"):
        create_folder(tmp_path / "file" / "out", session)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [RunFailed("the disk is full"), KeyboardInterrupt()], ids=repr)
def test_a_folder_whose_configuration_cannot_be_written_is_not_there(
    error: BaseException, tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, text: str) -> None:
        raise error

    monkeypatch.setattr(module, "write_text", fail)
    with pytest.raises(type(error)):
        create_folder(tmp_path / "out", session)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_somebody_made_meanwhile_is_left_to_them(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def slow(path: Path, text: str) -> None:
        out.mkdir()
        (out / "theirs").write_text("kept")
        write_text(path, text)

    monkeypatch.setattr(module, "write_text", slow)
    with pytest.raises(RequestError, match=r"`.*/out` was created by somebody else just now"):
        create_folder(out, session)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_a_fresh_folder_is_named_after_the_parts_with_the_first_free_number(tmp_path: Path, session: Session) -> None:
    several = session_of(teacher="nasty:omega=0.1", student=["kd", "plain"], pruner="filters", neuron="lif")
    name = "glyphs-nasty-kd-plain-filters-lif"
    (tmp_path / f"{name}-1").mkdir()
    assert [fresh_folder(several, tmp_path).path.name for _ in range(2)] == [f"{name}-2", f"{name}-3"]
    folder = fresh_folder(session, tmp_path)
    assert folder.path == tmp_path / "glyphs-plain-plain-1"
    assert os.listdir(folder.path) == ["run.toml"]


def test_a_fresh_folder_that_somebody_else_takes_gets_the_next_number(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [tmp_path / f"glyphs-plain-plain-{number}" for number in (1, 2)]

    def slow(path: Path, text: str) -> None:
        if taken:
            first = taken.pop(0)
            first.mkdir()
            (first / "theirs").write_text("")
        write_text(path, text)

    monkeypatch.setattr(module, "write_text", slow)
    assert fresh_folder(session, tmp_path).path.name == "glyphs-plain-plain-3"
    assert sorted(os.listdir(tmp_path)) == [f"glyphs-plain-plain-{number}" for number in (1, 2, 3)]


# -- opening ----------------------------------------------------------------------------------------------------------


def test_a_folder_in_which_a_run_has_begun_is_opened(tmp_path: Path, session: Session) -> None:
    created = create_folder(tmp_path / "out", session)
    assert open_folder(tmp_path / "out") == created


def test_the_folder_of_a_matrix_is_told_from_that_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "matrix.json").touch()
    with pytest.raises(RequestError, match=r"holds many runs\. Name one of them, in `.*runs`"):
        open_folder(tmp_path)


def test_a_folder_in_which_no_run_has_begun_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"`.*` has no `run\.toml`, so no run has begun in it\. Name the folder"):
        open_folder(tmp_path)
    with pytest.raises(RequestError, match=r"`.*/gone` does not exist\. Name the folder"):
        open_folder(tmp_path / "gone")
    assert os.listdir(tmp_path) == []


# -- working in it ----------------------------------------------------------------------------------------------------

HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_that_another_process_works_in_is_refused(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_GRACE_SECONDS", 0.1)
    folder = create_folder(tmp_path / "out", session)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunFailed, match=r"Another process is working on the run in `.*/out`"), folder.held():
            raise AssertionError
        other.kill()
        other.wait()
        with folder.held():
            assert folder.progress.is_dir()
    finally:
        other.kill()
        other.communicate()


def test_a_folder_can_be_held_again_once_it_was_let_go(tmp_path: Path, session: Session) -> None:
    folder = create_folder(tmp_path / "out", session)
    with pytest.raises(ZeroDivisionError), folder.held():
        raise ZeroDivisionError
    with folder.held():
        pass


def test_what_a_killed_process_left_half_written_is_cleared_and_nothing_else(tmp_path: Path, session: Session) -> None:
    folder = create_folder(tmp_path / "out", session)
    folder.progress.mkdir()
    kept = [folder.path / "teacher.safetensors", folder.progress / "teacher-train.safetensors", folder.path / "a.tmp"]
    for path in kept:
        path.write_text("whole")
    for left in (folder.path / ".report.json.x1.tmp", folder.progress / ".teacher-train.safetensors.y2.tmp"):
        left.write_text("half")
    with folder.held():
        found = {path for path in folder.path.rglob("*") if path.is_file()}
    assert found - {folder.lock} == {folder.config, *kept}
    assert all(path.read_text() == "whole" for path in kept)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, session: Session) -> None:
    folder = create_folder(tmp_path / "out", session)
    folder.progress.write_text("in the way")
    with pytest.raises(RunFailed, match=r"The folder `.*/out` cannot be written: File exists"), folder.held():
        raise AssertionError


def test_both_networks_are_saved_with_what_is_needed_to_build_them(tmp_path: Path) -> None:
    folder, network = RunFolder(tmp_path), trained_network(epochs=1)
    architecture = Architecture(MODEL, None, SHAPE, CLASSES)
    folder.save_teacher(network, architecture)
    folder.save_student(network, architecture)
    assert sorted(os.listdir(tmp_path)) == ["student.safetensors", "teacher.safetensors"]
    for name in os.listdir(tmp_path):
        assert read_architecture(tmp_path / name) == architecture
        assert set(read_weights(tmp_path / name)) == set(network.state_dict())


def test_a_finished_run_has_its_report_and_nothing_left_to_go_on_with(
    tmp_path: Path, session: Session, make_report: MakeReport
) -> None:
    folder = create_folder(tmp_path / "out", session)
    with folder.held():
        (folder.progress / "teacher-train.safetensors").write_text("state")
        folder.finish(make_report(), EVIDENCE)
    assert folder.report.read_text() == make_report().to_json()
    assert read_evidence(folder.evidence).images == "these"
    assert not folder.progress.exists()


def test_what_is_left_to_go_on_with_goes_only_once_the_report_is_there(
    tmp_path: Path, session: Session, make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, text: str) -> None:
        raise RunFailed("the disk is full")

    folder = create_folder(tmp_path / "out", session)
    monkeypatch.setattr(module, "write_text", fail)
    with folder.held():
        (folder.progress / "teacher-train.safetensors").write_text("state")
        with pytest.raises(RunFailed):
            folder.finish(make_report(), EVIDENCE)
    assert (folder.progress / "teacher-train.safetensors").read_text() == "state"
    assert not folder.report.exists()


def test_a_run_whose_evidence_cannot_be_written_is_not_finished(
    tmp_path: Path, session: Session, make_report: MakeReport
) -> None:
    folder = create_folder(tmp_path / "out", session)
    folder.evidence.mkdir()
    with folder.held():
        (folder.progress / "teacher-train.safetensors").write_text("state")
        with pytest.raises(RunFailed, match=r"Cannot write `.*/evidence\.safetensors`: Is a directory"):
            folder.finish(make_report(), EVIDENCE)
    assert (folder.progress / "teacher-train.safetensors").read_text() == "state"
    assert not folder.report.exists()
