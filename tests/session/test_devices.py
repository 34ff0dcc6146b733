from __future__ import annotations

import os

import pytest
import torch

from rcframe.errors import RequestError
from rcframe.jobs import THREAD_SHARE
from rcframe.session.devices import (
    determinism,
    make_compute,
    nondeterministic_operation,
    resolve_device,
    resolve_threads,
    threads,
)
from rcframe.training.compute import Accelerated, Compute


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
    with threads(2):
        assert resolve_threads(asked, numbers) == used


def test_a_job_that_shares_the_processor_trains_small_images_as_if_it_were_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv(THREAD_SHARE, "2")
    with threads(2):
        assert (resolve_threads(None, 64), resolve_threads(None, 3072), resolve_threads(3, 64)) == (1, 2, 3)


def test_threads_are_used_for_a_while() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


# -- where a run trains -----------------------------------------------------------------------------------------------


def test_one_process_in_full_precision_needs_no_library() -> None:
    compute = make_compute("cpu", "fp32")
    assert type(compute) is Compute
    assert compute.device == torch.device("cpu")


def test_another_precision_is_accelerated() -> None:
    compute = make_compute("cpu", "bf16")
    assert isinstance(compute, Accelerated)
    assert (compute.precision, compute.device) == ("bf16", torch.device("cpu"))
    compute.close()


def test_fp16_on_the_processor_is_refused() -> None:
    with pytest.raises(RequestError, match="--precision fp16 needs a CUDA device, and this run uses `cpu`"):
        make_compute("cpu", "fp16")


def test_one_process_that_torchrun_started_is_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert type(make_compute("cpu", "fp32")) is Compute


# -- strict repetition ------------------------------------------------------------------------------------------------


def scatter() -> torch.Tensor:
    """An operation that is not deterministic if two values go to one place."""
    return torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


@pytest.fixture(autouse=True)
def no_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what strictness writes into the environment."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "kept")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


def test_strictness_refuses_by_name_what_may_not_repeat_and_is_gone_afterwards() -> None:
    with pytest.raises(RuntimeError) as raised, determinism(True):
        scatter()
    assert nondeterministic_operation(raised.value) == "put_"
    scatter()


def test_without_strictness_nothing_is_refused() -> None:
    with determinism(False):
        scatter()


@pytest.mark.parametrize("mode", ["default", "warn", "error"])
@pytest.mark.parametrize("benchmark", [True, False])
def test_strictness_gives_back_what_it_found(mode: str, benchmark: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", benchmark)
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode(mode)
    try:
        found = torch.get_deterministic_debug_mode()
        with determinism(True):
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            assert not torch.backends.cudnn.benchmark
        assert torch.get_deterministic_debug_mode() == found
        assert torch.backends.cudnn.benchmark is benchmark
    finally:
        torch.set_deterministic_debug_mode(before)


def test_strictness_asks_matrix_products_for_repetition_unless_the_user_did(monkeypatch: pytest.MonkeyPatch) -> None:
    with determinism(False):
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with determinism(True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with determinism(True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes do not fit"),
        ValueError("put_ does not have a deterministic implementation, but you set"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_errors_name_no_operation(error: BaseException) -> None:
    assert nondeterministic_operation(error) is None
