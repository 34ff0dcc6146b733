"""Where the files of a data set lie, and what is said when they are absent or damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
from torch import Tensor

from rcframe.errors import RequestError, listed

#: How to name another root; true of every published data set.
CHOOSE_FOLDER = "Choose the folder with `--data-root` or the variable `RCFRAME_DATA`"


@attrs.frozen
class Layout:
    """One way in which the files of a data set lie below the data root."""

    folder: str
    names: tuple[str, ...]
    #: What may follow a name on disk, the preferred first.
    suffixes: tuple[str, ...] = ("",)

    def path(self, root: Path, name: str) -> Path:
        """Return where `name` is, or where it would be if it were there."""
        candidates = [root / self.folder / (name + suffix) for suffix in self.suffixes]
        return next((path for path in candidates if path.exists()), candidates[0])

    def missing(self, root: Path) -> tuple[str, ...]:
        """List the names that are not there."""
        return tuple(name for name in self.names if not self.path(root, name).exists())

    @property
    def files(self) -> str:
        """The names in words."""
        return listed(f"`{name}`" for name in self.names) + "".join(f" (or `{end}`)" for end in self.suffixes if end)

    @property
    def place(self) -> str:
        """The folder in words."""
        return f"`{self.folder}`" if self.folder else "that folder itself"


def complete(layouts: Sequence[Layout], root: Path) -> Layout | None:
    """Return the first layout of which every file is there."""
    return next((layout for layout in layouts if not layout.missing(root)), None)


def absent(name: str, layouts: Sequence[Layout], root: Path, remedy: str = "") -> RequestError:
    """Say which files of the data set `name` are expected below `root` and how to name another root."""
    return RequestError(f"{missing_files(name, layouts, root)} {CHOOSE_FOLDER}{remedy}.")


def missing_files(name: str, layouts: Sequence[Layout], root: Path) -> str:
    """Say which files of the data set `name` are expected below `root`."""
    begun = [layout for layout in layouts if len(layout.missing(root)) < len(layout.names)]
    if begun:
        found = f"{begun[0].place} lacks {listed(f'`{file}`' for file in begun[0].missing(root))}"
    else:
        found = f"expected {_expected(layouts)}"
    return f"The files of `{name}` are not below `{root}`: {found}."


def _expected(layouts: Sequence[Layout]) -> str:
    places: dict[str, list[str]] = {}
    for layout in layouts:
        places.setdefault(layout.files, []).append(layout.place)
    return ", or ".join(f"{files} in {' or '.join(folders)}" for files, folders in places.items())


def damaged(path: Path, reason: str) -> RequestError:
    """Say what is wrong with a file of a data set."""
    return RequestError(f"`{path}` is damaged: {reason}. Replace the file.")


def check_labels(path: Path, labels: Tensor, classes: int) -> None:
    """Refuse labels (N,) read from `path` that name no class."""
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise damaged(
            path, f"it holds labels from {int(labels.min())} to {int(labels.max())}, expected 0 to {classes - 1}"
        )
