"""Teachers that are not trained but brought: weights from a file, or the student of an earlier run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from rcframe.api import Model, NeuronModel, Teacher
from rcframe.builtins.vouch import check_vouched
from rcframe.choice import parse_choice
from rcframe.errors import RequestError
from rcframe.networks.surgery import resize_to
from rcframe.networks.weights import Architecture, load_weights, read_architecture, read_weights
from rcframe.options import component, option
from rcframe.training.context import Run
from rcframe.training.stage import Stage
from rcframe.wrapping import model_in_brief

#: The weights of the student in the folder of a run.
_STUDENT = "student.safetensors"


@component
class FileTeacher(Teacher):
    """The run's model with weights from a `.safetensors` file, or a `.pt` file that holds tensors only."""

    path: str = option(default="", help="The weights file.", positional=True)

    trains = False

    def network(self, run: Run) -> nn.Module:
        """Build the run's model and load the file into it."""
        if not self.path:
            raise RequestError("Teacher `file` needs a path: write `file:weights.safetensors`.")
        network, tensors = run.network("teacher"), read_weights(Path(self.path))
        try:
            load_weights(network, tensors, self.path)
        except RequestError as error:
            raise RequestError(f"{error}{_saved_by_a_run(Path(self.path), run)}") from error
        return network

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train nothing."""
        yield from ()


@component
class RunTeacher(Teacher):
    """The student of an earlier run, with the network, neurons and pruning it ended with."""

    path: str = option(default="", help="The folder of the earlier run.", positional=True)

    trains = False

    def network(self, run: Run) -> nn.Module:
        """Rebuild the student of the earlier run."""
        return load_network(self._file(), run)

    def brought(self) -> Architecture:
        """Describe the student of the earlier run."""
        return read_architecture(self._file())

    def _file(self) -> Path:
        if not self.path:
            raise RequestError("Teacher `run` needs a folder: write `run:runs/digits`.")
        folder = Path(self.path)
        file = folder / _STUDENT
        if not file.is_file():
            raise RequestError(f"`{folder}` is not the folder of a finished run: it has no `{_STUDENT}`.")
        return file

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train nothing."""
        yield from ()


def _saved_by_a_run(path: Path, run: Run) -> str:
    """Say how to bring a network that a run saved as another one than this run's model; else nothing."""
    try:
        saved = read_architecture(path)
        model, asked = model_in_brief(saved.model), model_in_brief(str(run.model))
    except RequestError:
        return ""
    if path.name == _STUDENT:
        whole = " with ".join(filter(None, [f"`{model}`", saved.neuron and f"`{saved.neuron}`"]))
        return f" The file holds the student of a run, saved as {whole}: `run:{path.parent}` builds that network again."
    # Where the model is the same, pruning made the difference.
    if model == asked or saved.neuron:
        return ""
    return f" It was saved as `{model}`: write `--model {shlex.quote(model)}`."


def load_network(path: Path, run: Run) -> nn.Module:
    """Build a saved network again: its model, its neurons, the sizes pruning left, its weights."""
    saved = read_architecture(path)
    if saved.shape != run.info.shape or saved.classes != len(run.info.classes):
        raise RequestError(
            f"`{path}` was trained on images {saved.shape} with {saved.classes} classes, but data set "
            f"`{run.info.name}` has images {run.info.shape} and {len(run.info.classes)} classes. Use the same --data."
        )
    try:
        network = _built(saved, run)
    except RequestError as error:
        raise RequestError(f"The network in `{path}` cannot be built: {error}") from error
    tensors = read_weights(path)
    resize_to(network, tensors)
    load_weights(network, tensors, str(path))
    return network


def _built(saved: Architecture, run: Run) -> nn.Module:
    """Build the network that a file describes, of parts that a file may choose."""
    choice = parse_choice(saved.model, "model")
    check_vouched(choice, run.make(Model, choice), run.make(Model, run.model))  # type: ignore[type-abstract]
    if saved.neuron:
        neuron = parse_choice(saved.neuron, "neuron")
        check_vouched(neuron, run.make(NeuronModel, neuron), None)  # type: ignore[type-abstract]
    return build_network(saved, run, "saved")


def build_network(architecture: Architecture, run: Run, name: str) -> nn.Module:
    """Build a network of the run called `name`, freshly initialised, as it is described."""
    network = run.network(name, architecture.model)
    if architecture.neuron is None:
        return network
    neuron = run.make(NeuronModel, architecture.neuron)  # type: ignore[type-abstract]
    return neuron.convert(network).to(run.device)
