"""Teachers that are not trained but brought: weights from a file, or the student of an earlier run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from rcframe.api import Teacher
from rcframe.context import Run
from rcframe.errors import RequestError
from rcframe.options import component, option
from rcframe.stage import Stage
from rcframe.weights import load_network, load_weights, read_weights


@component
class FileTeacher(Teacher):
    """The run's model with weights from a `.safetensors` file, or a `.pt` file that holds tensors only."""

    path: str = option(default="", help="The weights file.", positional=True)

    def network(self, run: Run) -> nn.Module:
        """Build the run's model and load the file into it."""
        if not self.path:
            raise RequestError("Teacher `file` needs a path: write `file:weights.safetensors`.")
        network = run.network("teacher")
        load_weights(network, read_weights(Path(self.path)), self.path)
        return network

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train nothing."""
        yield from ()


@component
class RunTeacher(Teacher):
    """The student of an earlier run, with the network, neurons and pruning it ended with."""

    path: str = option(default="", help="The folder of the earlier run.", positional=True)

    def network(self, run: Run) -> nn.Module:
        """Rebuild the student of the earlier run."""
        if not self.path:
            raise RequestError("Teacher `run` needs a folder: write `run:runs/digits`.")
        folder = Path(self.path)
        file = folder / "student.safetensors"
        if not file.is_file():
            raise RequestError(f"`{folder}` is not the folder of a finished run: it has no `student.safetensors`.")
        return load_network(file, run)

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train nothing."""
        yield from ()
