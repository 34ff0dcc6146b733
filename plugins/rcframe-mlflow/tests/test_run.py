"""A run from the command line, as the README shows it, leaves the same numbers in MLflow as in its own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rcframe.testing.readme import commands, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
QUICK = ["--data", "glyphs:size=8,classes=3,train=24,test=12", "--model", "mlp:hidden=4", "--device", "cpu"]


def test_the_command_of_the_readme_records_what_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (uri,) = [line.partition("=")[2] for line in README.splitlines() if "export MLFLOW_TRACKING_URI" in line]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (arguments,) = commands(README)
    folder = tmp_path / "run"
    run_command([*arguments, *QUICK, "--attack", "pgd:steps=50"], folder)

    client = MlflowClient(uri)
    found = client.get_experiment_by_name("rcframe")
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", f"{tmp_path.name}/run")
    assert run.data.params["students"] == "kd"
    assert run.data.tags["rcframe.command"].startswith("rcframe run")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if "epoch" in line]
    assert {line["stage"] for line in epochs} == {"teacher/train", "student/train"}
    curves = {
        stage: {point.step: point.value for point in client.get_metric_history(run.info.run_id, f"{stage}/loss")}
        for stage in ("teacher/train", "student/train")
    }
    for line in epochs:
        assert curves[line["stage"]][line["epoch"]] == line["loss"]
    report = json.loads((folder / "report.json").read_text())
    for role in ("teacher", "student"):
        assert run.data.metrics[f"final/{role}/clean"] == report[role]["clean"]["accuracy"]
        attacked = report[role]["attacked"]["pgd:steps=50"]["accuracy"]
        assert run.data.metrics[f"final/{role}/attacked/pgd steps 50"] == attacked
    kept = Path(client.download_artifacts(run.info.run_id, "report.json", str(tmp_path)))
    assert json.loads(kept.read_text()) == report
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {"report.json", "run.toml"}
    for named in ("student/train/loss", "final/student/attacked/pgd steps 50", "final/teacher/parameters"):
        assert f"`{named}`" in README
        assert named in run.data.metrics
