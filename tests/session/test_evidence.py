from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, strategies as st
from safetensors.numpy import load_file, save_file

from rcframe.errors import RequestError, RunFailed
from rcframe.evaluation.activity import Encoding, LayerActivity
from rcframe.session.evidence import About, Evidence, read_evidence, write_evidence

STUDENT = About("student", "clean")


def full() -> Evidence:
    """Evidence with something in every part."""
    generator = np.random.default_rng(0)

    def pictures() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return generator.integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)

    return Evidence(
        images="abc",
        classes=("cat", "naïve ☃ dog"),
        right={
            STUDENT: np.array([True, False, True]),
            About("teacher", "clean"): np.array([True, True, True]),
            About("student", "rcframe-attacks/pgd:steps=3,step_size=1/255"): np.array([False, False, True]),
            About("student", "certified by convex"): np.zeros(3, np.bool_),
        },
        truth=np.array([0, 1, 0]),
        answers={STUDENT: np.array([0, 0, -1], np.int16), About("teacher", "worst case"): np.zeros(3, np.int16)},
        breaking={About("student", "fgsm"): np.array([0, 0.1, np.inf], np.float32)},
        pictures=pictures(),
        labels=np.array([1, 0]),
        logits={"student": generator.normal(size=(2, 2)).astype(np.float32)},
        released=generator.normal(size=(2, 2)).astype(np.float32),
        peaks={STUDENT: np.array([1, 2, -1], np.int16), About("teacher", "released"): np.ones(3, np.int16)},
        profiles={STUDENT: generator.random((2, 2), np.float32)},
        adversarial={About("teacher", "fgsm"): pictures(), About("student", "fgsm"): pictures()},
        radii={About("student", "convex"): np.array([0.0, 0.25], np.float32)},
        spikes={"student": (LayerActivity("net.relu1", 5, 0.25, 30.5, 7.0), LayerActivity("relu2", 2, 0.0, 0.0))},
        encodings={"student": Encoding(4, 12.0)},
    )


def same(one: Evidence, other: Evidence) -> bool:
    """Say whether all parts are equal, with the same types of numbers."""
    arrays = ("right", "answers", "breaking", "logits", "peaks", "profiles", "adversarial", "radii")
    for name in arrays:
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine.keys() != theirs.keys() or any(
            array.dtype != theirs[key].dtype or not np.array_equal(array, theirs[key]) for key, array in mine.items()
        ):
            return False
    plain = ("images", "classes", "spikes", "encodings")
    return all(getattr(one, name) == getattr(other, name) for name in plain) and all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("pictures", "labels", "truth", "released")
    )


def written(evidence: Evidence, folder: Path) -> Path:
    path = folder / "evidence.safetensors"
    write_evidence(path, evidence)
    return path


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    assert same(read_evidence(written(full(), tmp_path)), full())
    assert os.listdir(tmp_path) == ["evidence.safetensors"]


@pytest.mark.parametrize(
    "part", [field.name for field in attrs.fields(Evidence) if field.name not in ("images", "classes")]
)
def test_a_part_that_differs_is_noticed_and_may_be_empty(part: str, tmp_path: Path) -> None:
    """The comparison of these tests sees every part."""
    bare = Evidence(images="abc", classes=full().classes)
    less = attrs.evolve(full(), **{part: getattr(bare, part)})
    assert not same(less, full())
    assert same(read_evidence(written(less, tmp_path)), less)


def test_nothing_but_names_is_evidence_too(tmp_path: Path) -> None:
    bare = Evidence(images="", classes=())
    assert same(read_evidence(written(bare, tmp_path)), bare)


def test_equal_evidence_makes_equal_files(tmp_path: Path) -> None:
    assert written(full(), tmp_path).read_bytes() == written(full(), tmp_path).read_bytes()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_name_of_a_measurement_comes_back(tmp_path_factory: pytest.TempPathFactory, what: str) -> None:
    folder = tmp_path_factory.mktemp("evidence")
    about = About("teacher", what)
    found = read_evidence(written(Evidence(images="", classes=(), right={about: np.array([True])}), folder))
    assert list(found.right) == [about]


def test_arrays_that_do_not_lie_in_one_piece_are_written_right(tmp_path: Path) -> None:
    pictures = full().pictures.transpose(0, 1, 3, 2)
    assert not pictures.flags.c_contiguous
    evidence = attrs.evolve(full(), pictures=pictures)
    assert same(read_evidence(written(evidence, tmp_path)), evidence)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of file sizes")
def test_a_full_disk_is_said_with_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    import resource

    before, path = resource.getrlimit(resource.RLIMIT_FSIZE), tmp_path / "evidence.safetensors"
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(RunFailed, match=rf"Cannot write `{path}`: File too large\."):
            write_evidence(path, full())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"Cannot read `.*/gone`: "):
        read_evidence(tmp_path / "gone")


@pytest.mark.parametrize(
    "content", [b"", b"not a file of tensors at all", b"\xff" * 64], ids=["empty", "text", "bytes"]
)
def test_what_is_no_file_of_tensors_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RequestError, match=r"`.*/file` is damaged: "):
        read_evidence(tmp_path / "file")


def test_a_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    path = written(full(), tmp_path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RequestError, match="is damaged"):
        read_evidence(path)


def with_head(path: Path, **changes: object) -> None:
    """Write the tensors of a file again, with another head."""
    head = {"format": 1, "images": "", "classes": [], "spikes": {}, **changes}
    save_file(load_file(path), path, {"rcframe_evidence": json.dumps(head)})


@pytest.mark.parametrize(
    "changes",
    [{"spikes": {"student": [{"layer": "a"}]}}, {"spikes": 3}, {"format": "new"}, {"classes": 5}],
    ids=str,
)
def test_a_head_that_says_something_else_is_damage(changes: dict[str, object], tmp_path: Path) -> None:
    path = written(full(), tmp_path)
    with_head(path, **changes)
    with pytest.raises(RequestError, match="is damaged"):
        read_evidence(path)


def test_tensors_of_somebody_else_are_no_evidence(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3)}, tmp_path / "file")
    with pytest.raises(RequestError, match="is damaged"):
        read_evidence(tmp_path / "file")


def test_a_file_of_a_newer_rcframe_is_refused(tmp_path: Path) -> None:
    path = written(full(), tmp_path)
    with_head(path, format=2)
    with pytest.raises(RequestError, match=r"was written by a newer rcframe \(format 2\): upgrade to read it"):
        read_evidence(path)
