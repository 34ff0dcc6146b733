from __future__ import annotations

from pathlib import Path

from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.findings.folders import collect
from rcframe.reporting.section import Warned
from rcframe.reporting.sections.provenance import section
from tests.findings.folders_made import Made, make_matrix, row
from tests.reporting.runs_made import collected, column, student


def test_settings_are_told_once_where_they_are_shared_and_by_run_where_they_differ(tmp_path: Path) -> None:
    runs = {"a": Made(settings=student(temperature=1)), "b": Made(settings=student(temperature=2))}
    found = section(collected(runs, tmp_path))
    differing, shared = found.tables[1], found.folded[0]
    assert differing.columns == ("run", "student.temperature")
    assert column(differing, "student.temperature") == ["1", "2"]
    assert ("teacher.epochs", "3") in shared.rows
    assert "student.temperature" not in column(shared, "setting")


def test_runs_stand_with_seeds_devices_and_folders(tmp_path: Path) -> None:
    runs = {"a": Made(seed=3), "b": Made(seed=5, queries=7)}
    (table,) = section(collected(runs, tmp_path)).tables
    assert column(table, "seeds") == ["3, 5"]
    assert column(table, "seconds in all") == ["3"]
    assert column(table, "first folder") == [(tmp_path / "a").as_posix()]


def test_all_versions_that_were_used_stand_there(tmp_path: Path) -> None:
    runs = {"a": Made(versions={"torch": "2.6"}), "b": Made(seed=1, versions={"torch": "2.7", "extra": "1"})}
    assert section(collected(runs, tmp_path)).folded[1].rows == (("torch", "2.6, 2.7"), ("extra", "1"))


def test_warnings_say_whose_they_are(tmp_path: Path) -> None:
    runs = {
        "a": Made(flags=("odd", "few images"), settings=student(temperature=1)),
        "b": Made(flags=("few images",), settings=student(temperature=2)),
    }
    assert section(collected(runs, tmp_path)).warnings == (
        Warned("", "Odd. (kd:temperature=1)"),
        Warned("", "Few images. (all configurations)"),
    )


def test_warnings_begin_with_what_the_documentation_calls_them(tmp_path: Path) -> None:
    flag = Flag(Kind.RULED_OUT, "on 3 images the right class was ruled out")
    assert section(collected({"a": Made(flags=(flag,))}, tmp_path)).warnings == (
        Warned("Classes ruled out", "on 3 images the right class was ruled out. (a)"),
    )


def test_warnings_say_which_seeds_they_belong_to_and_where_they_are_explained(tmp_path: Path) -> None:
    flags = {0: ("odd",), 1: ("odd", "even"), 2: ("odd",), 3: ("even",)}
    runs = {str(seed): Made(seed=seed, flags=said) for seed, said in flags.items()}
    found = section(collected(runs, tmp_path))
    (name,) = (group.name for group in collect([tmp_path]).groups)
    assert [warning.words for warning in found.warnings] == [
        f"Odd. ({name}, seeds 0, 1, 2)",
        f"Even. ({name}, seeds 1, 3)",
    ]
    assert any("docs/trust.md" in said for said in found.says)
    assert section(collected({"a": Made()}, tmp_path / "clean")).says == ()


def test_a_warning_that_only_some_seeds_of_every_configuration_carry_names_them(tmp_path: Path) -> None:
    runs = {
        f"{heat}-{seed}": Made(seed=seed, flags=("odd",) if seed else (), settings=student(temperature=heat))
        for heat in (1, 2)
        for seed in (0, 1)
    }
    (warning,) = section(collected(runs, tmp_path)).warnings
    assert warning.words == "Odd. (kd:temperature=1, seed 1; kd:temperature=2, seed 1)"


def test_commands_of_the_matrix_and_of_each_run_can_be_copied(tmp_path: Path) -> None:
    found = section(collect([make_matrix(tmp_path / "m", [(row("a"), Made()), (row("a", 1), Made(seed=1))])]))
    assert [(command.words, command.text) for command in found.commands] == [
        ("All runs of made", "rcframe matrix made.toml"),
        ("a", "rcframe run made.toml"),
    ]
