from __future__ import annotations

import pytest
import torch

from rcframe.errors import RequestError
from rcframe.session.devices import resolve_device, threads_for


def test_the_processor_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_prefers_cuda_then_mps(cuda: bool, mps: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto") == torch.device(chosen)


@pytest.mark.parametrize("asked", ["cuda", "cuda:0", "cuda:1"])
def test_a_cuda_device_counts_from_zero(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device(asked) == torch.device(asked)


@pytest.mark.parametrize(
    ("asked", "there", "words"),
    [
        ("cuda", 0, "this machine has 0 CUDA devices"),
        ("cuda:2", 2, r"`cuda:2` is not there: this machine has 2 CUDA devices\. Use --device auto or cpu"),
        ("mps", 0, "Device `mps` is not there"),
        ("gpu", 0, r"No device `gpu`\. Devices: auto, cpu, cuda"),
        ("", 0, "No device ``"),
        ("meta", 0, "Device `meta` is not supported"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    asked: str, there: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(RequestError, match=words):
        resolve_device(asked)


@pytest.mark.parametrize(
    ("asked", "numbers", "variable", "used"),
    [(None, 64, None, 1), (None, 3072, None, 2), (3, 64, None, 3), (3, 3072, None, 3), (None, 64, "2", 2)],
)
def test_small_images_get_one_thread_unless_somebody_says_otherwise(
    asked: int | None, numbers: int, variable: str | None, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(asked, numbers):
            assert torch.get_num_threads() == used
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
