"""Disks that are full or read-only, and files that vanish: a run ends and can go on."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.survival.conftest import Bench, Gate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes and mounts file systems")

#: Only what a stage leaves at its end is kept.
SELDOM = "--checkpoint=1000"


@attrs.frozen
class Disk:
    """A small file system."""

    path: Path

    def resize(self, kilobytes: int) -> None:
        """Make it larger."""
        _mount("-o", f"remount,size={kilobytes}k", str(self.path))

    def fill(self) -> None:
        """Leave no room."""
        with contextlib.suppress(OSError), (self.path / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    @contextlib.contextmanager
    def read_only(self, folder: Path) -> Iterator[None]:
        """Let nothing be written below a folder, also by those who have opened files there since long."""
        # Of itself, since a file system on which files are open for writing cannot be made read-only.
        _mount("--bind", str(folder), str(folder))
        try:
            _mount("-o", "remount,bind,ro", str(folder))
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of one megabyte, which is gone afterwards whatever happens."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", "size=1024k", "tmpfs", str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"file systems cannot be mounted here: {error}")
    try:
        yield Disk(path)
    finally:
        # Lazily: a process that a failed test left behind may still be there.
        subprocess.run(["umount", "-l", str(path)], check=True)


# -- full ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_ends_the_run_wherever_it_is_and_more_room_lets_it_go_on(bench: Bench, disk: Disk) -> None:
    run, room, where = disk.path / "run", 8, set()
    disk.resize(room)
    ended = bench.begin(run)
    while ended.code:
        sentence = bench.stopped(ended, run)
        assert sentence.startswith(f"Error: Cannot write `{run}/")
        assert sentence.endswith("`: No space left on device.")
        where.add(Path(sentence.split("`")[1]).name.rpartition("-")[0])
        room += 24
        assert room < 1000
        disk.resize(room)
        ended = bench.resume(run)
    bench.undisturbed(run)
    assert len(where) >= 2


def test_no_run_begins_on_a_full_disk(bench: Bench, disk: Disk) -> None:
    disk.fill()
    ended = bench.begin(disk.path / "run")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"Error: Cannot write `{disk.path}/run/run.toml`: No space left on device.\n"
    assert [path.name for path in disk.path.iterdir()] == ["ballast"]


def test_a_disk_that_fills_up_between_checkpoints_costs_little(bench: Bench, disk: Disk, gate: Gate) -> None:
    run = disk.path / "run"
    running = bench.starting(run, SELDOM, TROUBLE=f"craft:wait={gate.path}")
    gate.reached()
    disk.fill()
    gate.open()
    assert "No space left on device" in bench.stopped(running.end(), run)
    (disk.path / "ballast").unlink()
    assert "student/train: 2 epochs" not in bench.goes_on(run).err


def test_a_cache_on_a_full_disk_does_not_stop_the_run(bench: Bench, disk: Disk, tmp_path: Path) -> None:
    disk.fill()
    ended = bench.begin(tmp_path / "run", RCFRAME_CACHE=str(disk.path))
    assert ended.code == 0, ended
    assert complaints(ended.err) == 1
    assert "No space left on device" in ended.err
    bench.undisturbed(tmp_path / "run")


def complaints(err: str) -> int:
    return sum(line.startswith("The cache could not be used: ") for line in err.splitlines())


def limited(size: int) -> None:
    """Let no file of this process grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_checkpoint_that_may_not_grow_is_named(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sentence = bench.stopped(bench.begin(run, before=lambda: limited(3000)), run)
    assert f"Cannot write `{run}/progress/teacher-train" in sentence
    assert sentence.endswith("`: File too large.")
    bench.goes_on(run)


def test_metrics_that_may_not_grow_are_named(bench: Bench, tmp_path: Path, gate: Gate) -> None:
    run = tmp_path / "run"
    running = bench.starting(run, SELDOM, TROUBLE=f"step:wait={gate.path}")
    gate.reached()
    size = (run / "metrics.jsonl").stat().st_size
    resource.prlimit(running.number, resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
    gate.open()
    ended = running.end()
    assert (ended.code, ended.out) == (1, "")
    *_, sentence, advice = ended.err.splitlines()
    assert sentence == f"Error: Cannot write `{run}/metrics.jsonl`: File too large."
    assert advice.endswith(f"rcframe run --resume {run}")
    # The line that was cut off is mended.
    assert not (run / "metrics.jsonl").read_text().endswith("\n")
    bench.goes_on(run)


# -- read-only -----------------------------------------------------------------------------------------------------


def test_no_run_begins_where_nothing_can_be_written(bench: Bench, disk: Disk) -> None:
    with disk.read_only(disk.path):
        ended = bench.begin(disk.path / "run")
    assert (ended.code, ended.out) == (2, "")
    where = f"Cannot create the output folder `{disk.path}/run`"
    assert ended.err == f"Error: {where}: Read-only file system.\n"


@pytest.mark.parametrize("place", ["step", "plan", "craft"])
def test_a_folder_that_becomes_read_only_ends_the_run(bench: Bench, disk: Disk, gate: Gate, place: str) -> None:
    run = disk.path / "run"
    running = bench.starting(run, TROUBLE=f"{place}:wait={gate.path}")
    gate.reached()
    with disk.read_only(run):
        gate.open()
        sentence = bench.stopped(running.end(), run)
        assert sentence.startswith(f"Error: Cannot write `{run}/")
        assert sentence.endswith("`: Read-only file system.")
        again = bench.resume(run)
        assert again.code == 1
        assert again.err.startswith("Error: Cannot ")
        assert "Read-only file system" in again.err
    bench.goes_on(run)


def test_a_cache_that_cannot_be_written_is_read(bench: Bench, disk: Disk, tmp_path: Path) -> None:
    cache = str(disk.path)
    assert bench.begin(tmp_path / "first", "--eval-size=32", RCFRAME_CACHE=cache).code == 0
    with disk.read_only(disk.path):
        ended = bench.begin(tmp_path / "second", RCFRAME_CACHE=cache)
    assert ended.code == 0, ended
    found = [line for line in ended.err.splitlines() if line.endswith(": from the cache")]
    assert found == [f"{stage}: from the cache" for stage in ("teacher/train", "student/train", "student/more")]
    assert complaints(ended.err) == 1
    assert "Read-only file system" in ended.err
    bench.undisturbed(tmp_path / "second")


# -- files that vanish ---------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of images: 2 classes of 40 to train on and 10 to test on, in shades of their own."""
    for split, count in (("train", 40), ("val", 10)):
        for label, name in enumerate(("dark", "light")):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for number in range(count):
                shade = 40 + 120 * label + number
                image = Image.new("RGB", (8, 8), (shade, 255 - shade, 3 * number))
                image.save(tmp_path / "pictures" / split / name / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_vanishes_ends_the_run_and_put_back_it_goes_on(
    bench: Bench, tmp_path: Path, pictures: Path, gate: Gate, workers: int
) -> None:
    words = (f"--data=folder:{pictures},size=8", "--model=mlp:hidden=4", f"--workers={workers}")
    run, image = tmp_path / "run", pictures / "train" / "light" / "7.png"
    assert bench.begin(tmp_path / "whole", *words).code == 0
    running = bench.starting(run, *words, TROUBLE=f"plan:wait={gate.path}")
    gate.reached()
    image.rename(tmp_path / "elsewhere.png")
    gate.open()
    sentence = bench.stopped(running.end(), run)
    assert f"The image `{image}` is gone" in sentence
    assert "Put the file back" in sentence
    # As long as it is missing, it is another data set.
    missing = bench.resume(run)
    assert (missing.code, " data (was " in missing.err) == (2, True)
    (tmp_path / "elsewhere.png").rename(image)
    ended = bench.resume(run)
    assert ended.code == 0, ended
    bench.undisturbed(run, tmp_path / "whole")


def test_an_image_to_measure_on_that_vanishes_ends_the_run(
    bench: Bench, tmp_path: Path, pictures: Path, gate: Gate
) -> None:
    words = (f"--data=folder:{pictures},size=8", "--model=mlp:hidden=4")
    run, image = tmp_path / "run", pictures / "val" / "dark" / "3.png"
    running = bench.starting(run, *words, TROUBLE=f"craft:wait={gate.path}")
    gate.reached()
    image.rename(tmp_path / "elsewhere.png")
    gate.open()
    assert f"The image `{image}` is gone" in bench.stopped(running.end(), run)
    (tmp_path / "elsewhere.png").rename(image)
    assert bench.resume(run).code == 0
