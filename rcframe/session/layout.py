"""Where things are in the folder of a run, for those who write it and those who only look."""

from __future__ import annotations

from pathlib import Path

import attrs

from rcframe.errors import RequestError

#: What says how far many runs are, in the folder above them.
MATRIX = "matrix.json"


@attrs.frozen
class RunFiles:
    """The files of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """What was asked."""
        return self.path / "run.toml"

    @property
    def progress(self) -> Path:
        """Where state is kept until the run is finished."""
        return self.path / "progress"

    @property
    def worklog(self) -> Path:
        """What became of each piece of work."""
        return self.path / "work.json"

    @property
    def report(self) -> Path:
        """What came out; it exists once the run is finished."""
        return self.path / "report.json"

    @property
    def evidence(self) -> Path:
        """What it keeps besides its figures, for a closer look."""
        return self.path / "evidence.safetensors"

    @property
    def metrics(self) -> Path:
        """The training curves."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """Held by the process that works on the run."""
        return self.path / ".lock"

    def of_seed(self, seed: int) -> Path:
        """Return the folder of one seed, where a run is repeated with several."""
        return self.path / f"seed-{seed}"


def refuse_unless_begun(files: RunFiles) -> None:
    """Raise `RequestError` if no run has begun in a folder."""
    if (files.path / MATRIX).is_file():
        raise RequestError(
            f"`{files.path}` holds many runs. Name one of them, in `{files.path / 'runs'}`; `rcframe matrix` goes on "
            f"with all, and `rcframe report` shows them."
        )
    if not files.config.is_file():
        found = "has no `run.toml`, so no run has begun in it" if files.path.is_dir() else "does not exist"
        raise RequestError(f"`{files.path}` {found}. Name the folder that a run was writing to.")
