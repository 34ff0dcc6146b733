"""Published data sets: read from the user's files, or fetched first when the user allows it."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from rcframe.api import DataSource
from rcframe.data.files import Layout, absent, complete, missing_files
from rcframe.data.images import Dataset
from rcframe.errors import RequestError, RunFailed
from rcframe.options import component, option

#: Environment variables that forbid any download when they are set to a word for yes.
OFFLINE_VARIABLES = ("RCFRAME_OFFLINE", "HF_HUB_OFFLINE")


@component
class PublishedSource(DataSource):
    """A published data set with known files below the data root."""

    #: The name of the data set in messages and reports.
    name: ClassVar[str]

    download: bool = option(default=False, help="Fetch the files through torchvision when they are absent.")

    @abstractmethod
    def layouts(self) -> tuple[Layout, ...]:
        """List the ways in which the files can lie, the preferred first; one complete layout is enough."""

    @abstractmethod
    def fetch(self, root: Path) -> None:
        """Download the files below `root` with torchvision, checksums included."""

    @abstractmethod
    def read(self, root: Path, layout: Layout) -> Dataset:
        """Return the data set from the files of a complete layout."""

    def load(self, root: Path) -> Dataset:
        """Return the data set from the files below `root`, downloaded first if allowed and needed."""
        return self.read(root, self.located(root))

    def lacking(self, root: Path) -> str | None:
        """Say which files are absent, unless they may be downloaded; `CHOOSE_FOLDER` is left to who asks."""
        if self.download or complete(self.layouts(), root):
            return None
        return f"{missing_files(self.name, self.layouts(), root)} torchvision fetches them: {self._fetching}."

    def located(self, root: Path) -> Layout:
        """Return the layout that is complete below `root`, downloading the files if that is allowed and needed."""
        found = complete(self.layouts(), root)
        if found is None and self.download:
            self._download(root)
            found = complete(self.layouts(), root)
        if found is None:
            raise self._absent(root)
        return found

    @property
    def _fetching(self) -> str:
        return f"`rcframe data show {self.name}:download=true`"

    def _absent(self, root: Path) -> RequestError:
        fetching = f", or let torchvision fetch the files: {self._fetching}"
        return absent(self.name, self.layouts(), root, "" if self.download else fetching)

    def _download(self, root: Path) -> None:
        forbidding = [name for name in OFFLINE_VARIABLES if os.environ.get(name, "").lower() in _YES]
        if forbidding:
            raise RequestError(
                f"`{self.name}` was to be downloaded, but `{forbidding[0]}` forbids downloads: unset it, or put the "
                f"files below `{root}`."
            )
        try:
            root.mkdir(parents=True, exist_ok=True)
            self.fetch(root)
        except ImportError:
            raise RequestError(f"Downloading `{self.name}` needs torchvision: run `pip install torchvision`.") from None
        except (OSError, RuntimeError) as error:
            raise RunFailed(
                f"The download of `{self.name}` to `{root}` failed: {' '.join(str(error).split())}. "
                "Try again, or put the files there yourself."
            ) from error


_YES = ("1", "true", "yes", "on")
