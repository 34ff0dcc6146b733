from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from rcframe.errors import RunFailed
from rcframe.files import _flush_folder, replacing, write_text


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "größer\n")
    assert (tmp_path / "a.txt").read_bytes() == "größer\n".encode()


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with suppress(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "")
    (tmp_path / "usual").write_text("")
    ours, usual = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "usual"))
    assert ours == usual


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match=r"Cannot write `.*file/a.txt`: "):
        write_text(tmp_path / "file" / "a.txt", "")


def test_a_place_that_is_a_folder_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunFailed, match=r"Cannot write `.*taken`"):
        write_text(tmp_path / "taken", "")
    assert os.listdir(tmp_path) == ["taken"]


def test_a_half_written_file_has_a_name_that_is_swept_up(tmp_path: Path) -> None:
    """Whoever cleans up after killed processes knows half-written files by their names."""
    with replacing(tmp_path / "a.txt") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".a.txt.")
        assert temporary.suffix == ".tmp"


def test_a_new_name_replaces_the_old_file_and_not_its_content(tmp_path: Path) -> None:
    """A reader that has the old file open goes on reading it."""
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with path.open() as reader:
        write_text(path, "new")
        assert (reader.read(), path.read_text()) == ("old", "new")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that cannot flush folders")
def test_a_file_system_that_cannot_flush_folders_is_no_reason_to_fail() -> None:
    _flush_folder(Path("/proc"))


def test_a_folder_that_is_gone_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _flush_folder(tmp_path / "gone")


WRITE = """
import sys
from pathlib import Path
from rcframe.files import write_text
for number in range(1_000_000):
    write_text(Path(sys.argv[1]), f"{number:d}\\n" * 5000)
    print(number, flush=True)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            written = [int(process.stdout.readline()) for _ in range(3)]
            process.kill()
        lines = path.read_text().splitlines()
        assert len(lines) == 5000
        assert len(set(lines)) == 1
        assert int(lines[0]) >= written[-1]
