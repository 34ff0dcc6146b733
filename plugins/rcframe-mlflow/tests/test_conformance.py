from __future__ import annotations

from pathlib import Path

import pytest

from rcframe.testing import Check, parametrize_checks


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@parametrize_checks("rcframe-mlflow")
def test_conformance(check: Check, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///conformance.db")
    check()
