from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from rcframe.data.archives import unpack
from rcframe.errors import RunFailed


@attrs.frozen
class Put:
    """A member that a test puts into an archive."""

    name: str
    content: bytes = b"hello"
    #: Where it leads if it is a link.
    link: str | None = None
    #: The kind it has in a tar archive.
    kind: bytes = tarfile.REGTYPE


Write = Callable[[Path, list[Put]], Path]


def write_tar(folder: Path, members: list[Put], ending: str = ".tar.gz") -> Path:
    path = folder / f"archive{ending}"
    with tarfile.open(path, "w:gz" if ending == ".tar.gz" else "w") as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type = member.kind if member.link is None or member.kind != tarfile.REGTYPE else tarfile.SYMTYPE
            info.linkname = member.link or ""
            info.size = len(member.content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(member.content))
    return path


def write_plain_tar(folder: Path, members: list[Put]) -> Path:
    return write_tar(folder, members, ".tar")


def write_zip(folder: Path, members: list[Put]) -> Path:
    path = folder / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name)
            kind = stat.S_IFREG if member.link is None else stat.S_IFLNK
            info.external_attr = (kind | 0o777) << 16
            archive.writestr(info, member.content if member.link is None else member.link)
    return path


@pytest.fixture(params=[write_tar, write_plain_tar, write_zip])
def write(request: pytest.FixtureRequest) -> Write:
    chosen: Write = request.param
    return chosen


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The data root, inside a folder that hostile members try to reach."""
    (tmp_path / "data").mkdir()
    (tmp_path / "precious").write_text("mine")
    return tmp_path / "data"


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_every_file_and_folder_is_unpacked_with_its_content(write: Write, root: Path, tmp_path: Path) -> None:
    large = os.urandom(200_000)
    archive = write(tmp_path, [Put("set/a.bin", large), Put("set/deep/er/b", b""), Put("other.txt", b"three")])
    unpack(archive, root)
    assert below(root) == {"set", "set/a.bin", "set/deep", "set/deep/er", "set/deep/er/b", "other.txt"}
    assert (root / "set/a.bin").read_bytes() == large
    assert (root / "set/deep/er/b").read_bytes() == b""
    assert (root / "other.txt").read_bytes() == b"three"


def test_folders_of_their_own_may_be_empty(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.mkdir("empty")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        info = tarfile.TarInfo("./hollow")
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    unpack(tmp_path / "a.zip", root)
    unpack(tmp_path / "b.tar", root)
    assert below(root) == {"empty", "hollow"}


@pytest.mark.parametrize(
    "name",
    [
        "../precious",
        "set/../../precious",
        "set/..",
        "{outside}/precious",
        "/precious",
        "..\\precious",
        "set\\..\\..\\precious",
        "C:\\precious",
        "c:precious",
        "\\\\server\\share\\precious",
    ],
)
def test_a_name_that_leads_outside_refuses_the_whole_archive(
    write: Write, root: Path, tmp_path: Path, name: str
) -> None:
    name = name.format(outside=tmp_path)
    archive = write(tmp_path, [Put("set/good"), Put(name, b"evil"), Put("set/more")])
    before = below(tmp_path)
    with pytest.raises(RunFailed, match=r"archive\..*nothing was unpacked: its member .* would be written outside"):
        unpack(archive, root)
    assert below(tmp_path) == before
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("link", ["../precious", "/etc", "good", "..", "{outside}"])
def test_an_archive_with_a_link_is_refused_wherever_it_leads(
    write: Write, root: Path, tmp_path: Path, link: str
) -> None:
    link = link.format(outside=tmp_path)
    archive = write(tmp_path, [Put("good"), Put("door", link=link), Put("door/precious", b"evil")])
    before = below(tmp_path)
    with pytest.raises(RunFailed, match="its member `door` is a link or a device"):
        unpack(archive, root)
    assert below(tmp_path) == before
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_hard_links_pipes_and_devices_are_refused(root: Path, tmp_path: Path, kind: bytes) -> None:
    archive = write_tar(tmp_path, [Put("good"), Put("odd", kind=kind, link="../precious")])
    with pytest.raises(RunFailed, match="its member `odd` is a link or a device"):
        unpack(archive, root)
    assert below(root) == set()


def test_the_archives_of_this_test_do_harm_where_they_are_unpacked_carelessly(root: Path, tmp_path: Path) -> None:
    archive = write_tar(tmp_path, [Put("door", link=str(tmp_path)), Put("door/precious", b"evil")])
    with tarfile.open(archive) as careless:
        careless.extractall(root, filter="fully_trusted")
    assert (tmp_path / "precious").read_text() == "evil"


@pytest.mark.parametrize("what", ["folder", "file", "link", "dangling"])
def test_what_is_there_already_is_never_changed(write: Write, root: Path, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "folder":
        (root / "set").mkdir()
        (root / "set/mine").write_text("mine")
    elif what == "file":
        (root / "set").write_text("mine")
    else:
        (root / "set").symlink_to(elsewhere if what == "link" else tmp_path / "nowhere")
    before = below(tmp_path)
    archive = write(tmp_path, [Put("first/a"), Put("set/mine", b"evil")])
    with pytest.raises(RunFailed, match=r"`.*/set` is there already, but not complete\. Remove or rename it"):
        unpack(archive, root)
    assert below(tmp_path) == before | {archive.name}
    if what in ("folder", "file"):
        assert (root / ("set/mine" if what == "folder" else "set")).read_text() == "mine"


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 0.85])
def test_a_damaged_archive_leaves_nothing_behind(write: Write, root: Path, tmp_path: Path, fraction: float) -> None:
    archive = write(tmp_path, [Put(f"set/{number}", os.urandom(30_000)) for number in range(3)])
    content = archive.read_bytes()
    archive.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(RunFailed, match="is damaged and was not unpacked"):
        unpack(archive, root)
    assert below(root) == set()


def test_content_that_is_not_what_was_packed_is_damage(root: Path, tmp_path: Path) -> None:
    secret = b"these very bytes"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("a", secret)
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(secret, secret[::-1]))
    with pytest.raises(RunFailed, match=r"a\.zip` is damaged and was not unpacked: .*Remove it and try again"):
        unpack(tmp_path / "a.zip", root)
    assert below(root) == set()
