from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from rcframe.api import Engine
from rcframe.errors import RequestError, RunFailed
from rcframe.experiments import matrix as matrix_module
from rcframe.experiments.matrix import MatrixFolder, MatrixRun, refuse_unless_done
from rcframe.experiments.matrix_file import parse_matrix
from rcframe.experiments.plan import Plan, make_plan
from rcframe.findings.folders import collect
from rcframe.findings.records import MatrixRecord, RowRecord, read_matrix
from rcframe.jobs import Ended, Job
from rcframe.session.assemble import build_parts
from rcframe.session.config import config_of, read_config
from rcframe.storage import locks
from tests.experiments.engines import TINY, Acting, InProcess, carried_out


def plan(*students: str, seeds: int = 1, **run: object) -> Plan:
    document = {"title": "A test", "seeds": seeds, "run": {**TINY, **run}, "vary": {"student": list(students)}}
    return make_plan(parse_matrix(document, "title", "here"))


def ignored(row: RowRecord) -> None:
    pass


def matrix(
    folder: Path,
    planned: Plan,
    engine: Engine,
    *,
    share: bool = True,
    ended: Callable[[RowRecord], None] = ignored,
) -> MatrixRun:
    return MatrixRun(
        plan=planned, folder=MatrixFolder(folder), engine=engine, command="a test", share=share, ended=ended
    )


def statuses(record: MatrixRecord) -> dict[str, tuple[str, str]]:
    return {f"{row.name} {row.seed}": (row.status, row.reason) for row in record.rows}


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def ending(code: int | None, reason: str = "") -> Callable[[Job], Ended]:
    return lambda job: Ended(job, code, reason)


def interrupted(job: Job) -> Ended:
    raise KeyboardInterrupt


# -- carrying out -----------------------------------------------------------------------------------------------------


def test_every_run_is_a_job_with_a_configuration_a_folder_and_a_log(tmp_path: Path) -> None:
    folder, planned, engine = tmp_path / "m", plan("kd", "plain"), InProcess()
    told: list[RowRecord] = []
    record = matrix(folder, planned, engine, ended=told.append).carry_out()
    assert statuses(record) == {"kd 0": ("done", ""), "plain 0": ("done", "")}
    assert (record.title, record.command, record.axes) == ("A test", "a test", ("student",))
    assert [row.labels for row in record.rows] == [{"student": "kd"}, {"student": "plain"}]
    assert read_matrix(folder) == record
    assert sorted(row.name for row in told) == ["kd", "plain"]
    assert engine.place == folder / "jobs"
    for job, run, row in zip(engine.given, planned.runs, record.rows, strict=True):
        assert job.name == run.id
        assert job.arguments == (
            *("run", f"{folder}/jobs/{run.id}.toml", "--out", f"{folder}/runs/{run.id}", "--continue", "--quiet"),
        )
        assert job.log == folder / "jobs" / f"{run.id}.log"
        asked = config_of(read_config(folder / "jobs" / f"{run.id}.toml"))
        assert (build_parts(asked), asked.seed, str(asked.students[0])) == (run.parts, 0, f"{run.name}:epochs=1")
        assert (folder / row.folder / "report.json").is_file()
        assert row.folder == f"runs/{run.id}"
    assert [group.name for group in collect([folder]).groups] == ["kd", "plain"]


def test_paths_of_jobs_do_not_depend_on_where_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = Acting({0: ending(1)})
    matrix(Path("m"), plan("kd"), engine).carry_out()
    (job,) = engine.given
    assert engine.place == tmp_path / "m" / "jobs"
    assert job.folder == tmp_path
    assert all(Path(job.arguments[place]).is_absolute() for place in (1, 3))
    assert job.log.is_absolute()


def test_runs_share_finished_work_unless_they_are_told_not_to(tmp_path: Path, own_cache: Path) -> None:
    engine = InProcess()
    matrix(tmp_path / "alone", plan("kd"), engine, share=False).carry_out()
    assert engine.given[0].arguments[-1] == "--no-cache"
    assert list(own_cache.rglob("*.safetensors")) == []
    matrix(tmp_path / "shared", plan("kd"), engine).carry_out()
    assert "--no-cache" not in engine.given[0].arguments
    assert list(own_cache.rglob("*.safetensors"))


def test_variables_that_stand_for_flags_change_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SEED": "7", "EVAL_SIZE": "3", "STUDENT": "plain", "DETERMINISTIC": "1"}.items():
        monkeypatch.setenv(f"RCFRAME_RUN_{name}", value)
    monkeypatch.setenv("RCFRAME_OFFLINE", "1")
    engine, planned = InProcess(), plan("kd")
    record = matrix(tmp_path / "m", planned, engine).carry_out()
    assert statuses(record) == {"kd 0": ("done", "")}
    document = read_config(tmp_path / "m" / record.rows[0].folder / "run.toml")
    assert (document["seed"], document["eval_size"], document["deterministic"]) == (0, 0, False)
    assert engine.given[0].environment["RCFRAME_OFFLINE"] == "1"
    assert "RCFRAME_DATA" not in engine.given[0].environment


# -- runs that fail ---------------------------------------------------------------------------------------------------


def test_a_run_that_fails_stops_no_other_and_its_reason_stands_in_the_record(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    # A student that may ask for fewer images than it needs.
    found = statuses(matrix(tmp_path / "asking", plan("kd", "plain", budget=1), InProcess()).carry_out())
    assert found["plain 0"] == ("done", "")
    assert found["kd 0"][0] == "failed"
    assert "budget" in found["kd 0"][1]
    record = matrix(folder, plan("kd", "skeptical", "plain"), Acting({1: ending(1, "No luck.")})).carry_out()
    assert statuses(record) == {
        "kd 0": ("done", ""),
        "skeptical 0": ("failed", "No luck."),
        "plain 0": ("done", ""),
    }
    assert read_matrix(folder) == record
    (unfinished,) = collect([folder]).unfinished
    assert (unfinished.name, unfinished.reason) == ("skeptical", "No luck.")


@pytest.mark.parametrize(
    ("code", "reason", "status", "told"),
    [
        (1, "No luck.", "failed", "No luck."),
        (0, "", "failed", "it ended without a report"),
        (None, "its machine is gone", "failed", "its machine is gone"),
        (-9, "it was killed by signal 9", "failed", "it was killed by signal 9"),
        (130, "Interrupted.", "interrupted", "it was stopped, and goes on when started again"),
        (143, "", "interrupted", "it was stopped, and goes on when started again"),
        (-2, "killed", "interrupted", "it was stopped, and goes on when started again"),
        (-15, "killed", "interrupted", "it was stopped, and goes on when started again"),
    ],
)
def test_how_a_job_ended_says_how_its_run_did(
    code: int | None, reason: str, status: str, told: str, tmp_path: Path
) -> None:
    record = matrix(tmp_path / "m", plan("kd"), Acting({0: ending(code, reason)})).carry_out()
    assert statuses(record) == {"kd 0": (status, told)}


def test_a_run_with_a_report_is_done_however_its_process_ended(tmp_path: Path) -> None:
    def crashing_at_its_end(job: Job) -> Ended:
        carried_out(job)
        return Ended(job, -11, "it was killed by signal 11")

    record = matrix(tmp_path / "m", plan("kd"), Acting({0: crashing_at_its_end})).carry_out()
    assert statuses(record) == {"kd 0": ("done", "")}


def test_a_run_whose_parts_do_not_fit_is_never_given_to_anybody(tmp_path: Path) -> None:
    engine = InProcess()
    record = matrix(tmp_path / "m", plan("kd", "plain", access="hard"), engine).carry_out()
    assert engine.names == ["plain-0"]
    found = statuses(record)
    assert found["plain 0"] == ("done", "")
    assert found["kd 0"][0] == "failed"
    assert found["kd 0"][1].startswith("Student `kd` needs logits")


def test_runs_without_a_result_are_named_at_the_end(tmp_path: Path) -> None:
    row = RowRecord(name="kd", labels={}, seed=3, folder="runs/kd", status="done")
    record = MatrixRecord(title="t", command="c", axes=(), rows=(row,))
    refuse_unless_done(record, tmp_path)
    failed = [attrs.evolve(row, name=f"kd {n}", status="failed", reason=f"reason {n}") for n in range(3)]
    record = attrs.evolve(record, rows=(row, *failed, attrs.evolve(row, name="late", status="waiting")))
    with pytest.raises(RunFailed) as raised:
        refuse_unless_done(record, tmp_path)
    assert str(raised.value) == (
        "4 of 5 runs have no result: `kd 0` (seed 3): reason 0, `kd 1` (seed 3): reason 1, `kd 2` (seed 3): reason 2, "
        f"and 1 more. What the others found is in `{tmp_path}`; the same command tries those again."
    )
    with pytest.raises(RunFailed, match=r"^1 of 2 runs have no result: `late` \(seed 3\): waiting\. What"):
        refuse_unless_done(attrs.evolve(record, rows=(record.rows[0], record.rows[-1])), tmp_path)


# -- going on ---------------------------------------------------------------------------------------------------------


def test_started_again_only_what_is_not_done_is_given_again(tmp_path: Path) -> None:
    folder, planned = tmp_path / "m", plan("kd", "plain", seeds=2)
    failing = Acting({1: ending(1, "No luck."), 2: ending(-9, "killed")})
    record = matrix(folder, planned, failing).carry_out()
    assert failing.names == ["kd-0", "kd-1", "plain-0", "plain-1"]
    assert [row.status for row in record.rows] == ["done", "failed", "failed", "done"]
    untouched = {path: times for row in (0, 3) for path, times in files(folder / record.rows[row].folder).items()}
    engine = InProcess()
    again = matrix(folder, planned, engine).carry_out()
    assert engine.names == ["kd-1", "plain-0"]
    assert {row.status for row in again.rows} == {"done"}
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    third = InProcess()
    assert matrix(folder, planned, third).carry_out() == again
    assert third.given == []


def test_a_run_that_failed_before_waits_until_it_has_ended_again(tmp_path: Path) -> None:
    folder, planned = tmp_path / "m", plan("kd")
    matrix(folder, planned, Acting({0: ending(1, "No luck.")})).carry_out()

    def looking(job: Job) -> Ended:
        assert statuses(read_matrix(folder)) == {"kd 0": ("waiting", "")}
        return Ended(job, 1, "Bad luck.")

    record = matrix(folder, planned, Acting({0: looking})).carry_out()
    assert statuses(record) == {"kd 0": ("failed", "Bad luck.")}


def test_an_edited_matrix_keeps_the_rows_that_did_not_change(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    before = matrix(folder, plan("kd", "plain"), InProcess()).carry_out()
    kept = files(folder / before.rows[1].folder)
    engine = InProcess()
    after = matrix(folder, plan("skeptical", "plain", seeds=2), engine).carry_out()
    assert engine.names == ["skeptical-0", "skeptical-1", "plain-1"]
    assert after.rows[2] == before.rows[1]
    assert files(folder / before.rows[1].folder) == kept
    assert [row.name for row in read_matrix(folder).rows] == ["skeptical", "skeptical", "plain", "plain"]


def test_a_run_that_was_begun_is_gone_on_with(tmp_path: Path) -> None:
    from tests.session.test_conduct import stopped

    folder, planned = tmp_path / "m", plan("kd")
    # The same run, stopped after its first batch.
    out = folder / "runs" / planned.runs[0].id
    changes = {"attack": (), "checkpoint": 5.0, "device": "cpu"}
    stopped(out, 1, teacher="plain:epochs=1", student="kd:epochs=1", **changes)
    assert (out / "progress").is_dir()
    (folder / "matrix.json").write_text("{}")
    record = matrix(folder, planned, InProcess()).carry_out()
    assert statuses(record) == {"kd 0": ("done", "")}
    assert read_config(out / "run.toml")["command"] == "a test"


def test_an_interrupt_ends_the_engine_and_notes_what_is_done(tmp_path: Path) -> None:
    def unnoticed(job: Job) -> Ended:
        carried_out(job)
        raise KeyboardInterrupt

    folder, engine = tmp_path / "m", Acting({1: unnoticed})
    with pytest.raises(KeyboardInterrupt):
        matrix(folder, plan("kd", "plain", "skeptical"), engine).carry_out()
    assert engine.closed
    assert statuses(read_matrix(folder)) == {
        "kd 0": ("done", ""),
        "plain 0": ("done", ""),
        "skeptical 0": ("waiting", ""),
    }
    engine = Acting({})
    matrix(folder, plan("kd", "plain", "skeptical"), engine).carry_out()
    assert engine.names == ["skeptical-0"]


def test_a_run_that_was_begun_when_the_matrix_was_interrupted_is_called_interrupted(tmp_path: Path) -> None:
    def begun(job: Job) -> Ended:
        folder = Path(job.arguments[job.arguments.index("--out") + 1])
        folder.mkdir(parents=True)
        (folder / "run.toml").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matrix(tmp_path / "m", plan("kd", "plain"), Acting({0: begun})).carry_out()
    assert statuses(read_matrix(tmp_path / "m")) == {
        "kd 0": ("interrupted", "it was stopped, and goes on when started again"),
        "plain 0": ("waiting", ""),
    }


def test_whatever_goes_wrong_here_ends_the_engine(tmp_path: Path) -> None:
    def wrong(row: RowRecord) -> None:
        raise RuntimeError("the display broke")

    engine = Acting({})
    with pytest.raises(RuntimeError):
        matrix(tmp_path / "m", plan("kd", "plain"), engine, ended=wrong).carry_out()
    assert engine.closed


@pytest.mark.parametrize(("between", "noted"), [(1e9, 0), (-1.0, 2)])
def test_notes_in_between_are_few_and_the_last_is_complete(
    between: float, noted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix_module, "_BETWEEN_NOTES", between)
    folder, seen = tmp_path / "m", []

    def looking(job: Job) -> Ended:
        seen.append(sum(row.status == "failed" for row in read_matrix(folder).rows))
        return Ended(job, 1, "No luck.")

    planned = plan("kd", "plain", "skeptical")
    record = matrix(folder, planned, Acting(dict.fromkeys(range(3), looking))).carry_out()
    assert seen[-1] == noted
    assert {row.status for row in record.rows} == {"failed"}
    assert read_matrix(folder) == record


# -- the folder -------------------------------------------------------------------------------------------------------


def test_one_process_at_a_time_works_on_a_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_GRACE_SECONDS", 0.0)
    folder, engine = tmp_path / "m", InProcess()
    MatrixFolder(folder).prepare()
    with (
        MatrixFolder(folder).held(),
        pytest.raises(RunFailed, match=r"^Another process works on the matrix in `.*/m`\.$"),
    ):
        matrix(folder, plan("kd"), engine).carry_out()
    assert engine.given == []
    assert not (folder / "matrix.json").exists()
    matrix(folder, plan("kd"), engine).carry_out()


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(RequestError, match=r"holds something else than a matrix: name another folder with --out\.$"):
        matrix(tmp_path, plan("kd"), InProcess()).carry_out()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RequestError, match=r"thesis\.tex` is a file: name another folder with --out\.$"):
        matrix(tmp_path / "thesis.tex", plan("kd"), InProcess()).carry_out()
    with pytest.raises(RequestError, match=r"^Cannot create the folder `.*/thesis\.tex/m`: Not a directory\.$"):
        matrix(tmp_path / "thesis.tex" / "m", plan("kd"), InProcess()).carry_out()


def test_what_a_process_left_that_was_killed_at_its_very_start_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / ".lock").touch()
    (tmp_path / ".matrix.json.x7.tmp").write_text('{"form')
    assert statuses(matrix(tmp_path, plan("kd"), InProcess()).carry_out()) == {"kd 0": ("done", "")}


def test_the_record_is_text_that_other_programs_can_read(tmp_path: Path) -> None:
    matrix(tmp_path / "m", plan("kd"), Acting({0: ending(1, "No luck.")})).carry_out()
    found = json.loads((tmp_path / "m" / "matrix.json").read_text())
    (row,) = found.pop("rows")
    assert found == {"format": 1, "title": "A test", "command": "a test", "axes": ["student"]}
    assert row.pop("folder").startswith("runs/kd-0-")
    assert row == {"name": "kd", "labels": {"student": "kd"}, "seed": 0, "status": "failed", "reason": "No luck."}


def test_claims_about_earlier_runs_are_gone_when_a_matrix_starts_again(tmp_path: Path) -> None:
    matrix(tmp_path / "m", plan("kd"), Acting({})).carry_out()
    (tmp_path / "m" / "reproduction.json").write_text("{}")
    matrix(tmp_path / "m", plan("kd"), Acting({})).carry_out()
    assert not (tmp_path / "m" / "reproduction.json").exists()
