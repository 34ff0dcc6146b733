"""Where training happens: the device, the precision, and this process among those that train together.

`Compute` is one process in full precision. `Accelerated` is everything else, and the one place that knows accelerate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rcframe.api import Precision
from rcframe.errors import RequestError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.amp.grad_scaler import GradScaler

T = TypeVar("T")
#: Processes wait for each other while the main one reads, writes or waits for a lock.
_PATIENCE = timedelta(days=7)
_CPU = torch.device("cpu")


class Compute:
    """A device, used by one process in full precision."""

    precision: Precision = "fp32"
    #: The number of this process, from 0, and how many train together.
    index = 0
    count = 1
    #: What keeps gradients from vanishing in fp16.
    scaler: GradScaler | None = None

    def __init__(self, device: torch.device = _CPU) -> None:
        self.device = device

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.index == 0

    def part(self, whole: int) -> range:
        """Return which of `whole` things are this process's, where all share them; the first get one more."""
        each, more = divmod(whole, self.count)
        begin = self.index * each + min(self.index, more)
        return range(begin, begin + each + (self.index < more))

    def autocast(self) -> AbstractContextManager[None]:
        """Run forward passes in the precision."""
        return nullcontext()

    def full_precision(self) -> AbstractContextManager[None]:
        """Leave `autocast` for a while."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Compute gradients of a loss; they are usable after `settle`."""
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated

    def settle(self, optimizer: Optimizer, modules: Sequence[nn.Module]) -> None:
        """Make gradients, and the floating-point buffers of `modules`, those of the whole batch."""

    def step(self, optimizer: Optimizer) -> None:
        """Move the weights."""
        optimizer.step()

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        return tensor

    def from_main(self, make: Callable[[], T]) -> T:
        """Let the main process make something and give it to all."""
        return make()

    def main_first(self, make: Callable[[], T]) -> T:
        """Let every process make something of its own, the others only after the main one."""
        made = make() if self.is_main else None
        self.from_main(lambda: None)
        return make() if made is None else made

    def gather(self, item: T) -> list[T]:
        """Return the items of all processes, in their order."""
        return [item]

    def close(self) -> None:
        """Part from the other processes."""


class Accelerated(Compute):
    """A device used in any precision, by one process or by several that share every batch."""

    def __init__(self, device: torch.device, precision: Precision) -> None:
        self._accelerator = _accelerator(device, precision)
        self.precision = precision
        self.index, self.count = self._accelerator.process_index, self._accelerator.num_processes
        self.scaler = self._accelerator.scaler
        # Each process of several on a machine has a GPU of its own.
        super().__init__(device if self.count == 1 or device.type == "cpu" else self._accelerator.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Run forward passes in the precision."""
        return cast("AbstractContextManager[None]", self._accelerator.autocast())

    def full_precision(self) -> AbstractContextManager[None]:
        """Leave `autocast` for a while."""
        return cast("AbstractContextManager[None]", torch.autocast(self.device.type, enabled=False))

    def backward(self, loss: Tensor) -> None:
        """Compute gradients of a loss; in fp16 they are scaled until `settle`."""
        self._accelerator.backward(loss)

    def settle(self, optimizer: Optimizer, modules: Sequence[nn.Module]) -> None:
        """Unscale gradients, then average them and the floating-point buffers of `modules` over all processes."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if self.count > 1:
            self._average([*_gradients(optimizer), *_buffers(modules)])

    def step(self, optimizer: Optimizer) -> None:
        """Move the weights, unless fp16 gave gradients that are no numbers."""
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, on the device."""
        tensor = tensor.to(self.device)
        return cast(Tensor, self._accelerator.reduce(tensor, "sum")) if self.count > 1 else tensor

    def from_main(self, make: Callable[[], T]) -> T:
        """Let the main process make something and give it to all."""
        if self.count == 1:
            return make()
        from accelerate.utils import broadcast_object_list

        made: list[T | None] = [make() if self.is_main else None]
        broadcast_object_list(made)
        return cast(T, made[0])

    def gather(self, item: T) -> list[T]:
        """Return the items of all processes, in their order."""
        if self.count == 1:
            return [item]
        from accelerate.utils import gather_object

        return cast("list[T]", gather_object([item]))

    def close(self) -> None:
        """Part from the other processes."""
        self._accelerator.end_training()

    @torch.no_grad()
    def _average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all processes, in one exchange for each type of number."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            same = [tensor for tensor in tensors if tensor.dtype == dtype]
            means = self._accelerator.reduce(torch.cat([tensor.reshape(-1) for tensor in same]), "mean")
            for tensor, mean in zip(same, means.split([tensor.numel() for tensor in same]), strict=True):
                tensor.copy_(mean.view_as(tensor))


def _gradients(optimizer: Optimizer) -> list[Tensor]:
    """Return the gradients of all parameters; one that had no part in this process's images may have in another's."""
    gradients = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    return gradients


def _buffers(modules: Sequence[nn.Module]) -> list[Tensor]:
    """Return the floating-point buffers of modules, such as batch statistics, each once."""
    found = {id(buffer): buffer for module in modules for buffer in module.buffers() if buffer.is_floating_point()}
    return list(found.values())


def _accelerator(device: torch.device, precision: Precision) -> Accelerator:
    if precision == "fp16" and device.type != "cuda":
        raise RequestError(f"--precision fp16 needs a CUDA device, and this run uses `{device}`: choose bf16 or fp32.")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import InitProcessGroupKwargs

    # Accelerate keeps one state per process and refuses to change it, but runs of a library follow each other.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
