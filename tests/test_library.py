from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rcframe as rc
from rcframe.api import Attack, Certifier, Model, NeuronModel, Pruner, StudentStrategy, Teacher
from rcframe.options import values_of

TINY: dict[str, Any] = {
    "data": "glyphs:size=8,classes=3,train=24,test=9",
    "model": "mlp:hidden=4",
    "teacher": "plain:epochs=1",
    "student": "plain:epochs=1",
    "device": "cpu",
}


def test_components_come_by_name_with_options_as_arguments() -> None:
    assert isinstance(rc.model("mlp", hidden=4), Model)
    assert isinstance(rc.teacher("plain", epochs=2), Teacher)
    assert isinstance(rc.student("kd", alpha=0.5), StudentStrategy)
    assert isinstance(rc.pruner("filters"), Pruner)
    assert isinstance(rc.neuron("lif", steps=2), NeuronModel)
    assert isinstance(rc.attack("pgd", steps=5), Attack)
    assert isinstance(rc.certifier("convex"), Certifier)
    values = values_of(rc.attack("pgd", steps=5, step_size="2/255"))
    assert (values["steps"], values["step_size"], values["random_start"]) == (5, 2 / 255, True)


@pytest.mark.parametrize("spec", ["mlp:hidden=8+4,normalize=false", "convnet", "python:my.nets:small"])
def test_what_is_spelled_out_builds_the_same_with_every_option(spec: str) -> None:
    component = rc.model(spec)
    spelled = rc.spelled(component)
    assert rc.model(spelled) == component
    assert all(f"{name}=" in spelled for name in values_of(component))


def test_spec_strings_and_arguments_add_up() -> None:
    assert rc.attack("pgd:steps=5", restarts=2) == rc.attack("pgd:steps=5,restarts=2")
    assert rc.attack("rcframe-attacks/pgd:steps=5") == rc.attack("pgd", steps=5)
    assert rc.teacher("file", path="w.pt") == rc.teacher("file:w.pt")


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        ("pgd:steps=5", {"steps": 5}, "Option `steps` of `pgd` is given twice: in `pgd:steps=5` and as an argument"),
        ("pgd", {"step": 5}, r"`pgd` has no option `step`\. Did you mean `steps`\?"),
        ("pgd", {"steps": 0}, "Option `steps` of `pgd` is 0, but it must be at least 1"),
        ("pgd", {"steps": "many"}, "Option `steps` of `pgd` is 'many', but it must be: whole number at least 1"),
        ("pdg", {}, r"No attack named `pdg`\. Did you mean `pgd`\?"),
        ("nowhere/pgd", {}, "No attack named `pgd` in `nowhere`"),
        ("PGD", {}, "Cannot read the attack `PGD`"),
    ],
)
def test_mistakes_are_sentences(spec: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(rc.RequestError, match=words):
        rc.attack(spec, **options)


def test_a_positional_option_cannot_be_given_again_by_name() -> None:
    with pytest.raises(rc.RequestError, match="`file` was given option `path` twice"):
        rc.teacher("file:a.pt", path="b.pt")


def test_a_plain_module_is_attacked_certified_pruned_and_made_spiking() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).train()
    x, y = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    x_adv = rc.attack("pgd", steps=3)(model, x, y, eps=8 / 255)
    assert 0 < float((x_adv - x).abs().max()) <= 8 / 255 + 1e-6
    lower = rc.certifier("convex")(model, x, y, eps="1/100")
    logits = model(x)
    margins = logits.gather(1, y[:, None]) - logits
    assert lower.shape == (4, 3)
    assert bool((lower <= margins + 1e-5).all())
    assert torch.equal(lower.gather(1, y[:, None]), torch.zeros(4, 1))
    pruner = rc.pruner("filters", ratio=0.5)
    assert isinstance(pruner, rc.OneShotPruner)
    small, report = pruner.apply(model, x)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    assert isinstance(report, rc.PruningReport)
    assert rc.neuron("lif", steps=2).convert(model)(x).shape == (4, 3)
    assert model.training


def test_a_run_returns_its_report_and_writes_nothing_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    report = rc.run(**TINY, attack=["fgsm", "pgd:steps=1"], eps="8/255", eval_size=6, seed=3)
    assert (report.seed, report.device, report.student.clean.n) == (3, "cpu", 6)
    assert list(report.teacher.attacked) == ["fgsm", "pgd:steps=1"]
    protocol = report.student.attacked["fgsm"].protocol
    assert protocol is not None
    assert (str(protocol.eps), protocol.norm) == ("8/255", "linf")
    assert report.command.startswith("rcframe.run(data='glyphs:size=8")
    assert "seed=3" in report.command
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_run_writes_the_folder_it_is_given_once(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    rc.run(**TINY, out=out)
    assert {"run.toml", "report.json", "teacher.safetensors", "student.safetensors"} <= {
        path.name for path in out.iterdir()
    }
    with pytest.raises(rc.RequestError, match=r"output folder `.*` exists already"):
        rc.run(**TINY, out=str(out))


def test_components_tables_and_spec_strings_mean_the_same_run(tmp_path: Path) -> None:
    def outcome(**changes: object) -> tuple[object, ...]:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        report = rc.run(**{**TINY, **changes}, out=out, cache=False)
        written = tomllib.loads((out / "run.toml").read_text())
        # These say how the user put it.
        del written["command"], written["typed"], written["as_begun"]["typed"]
        assert report.student.component.startswith("kd:")
        return written, (out / "student.safetensors").read_bytes(), report.student.clean, report.student.attacked

    as_text = outcome(student="kd:alpha=0.5,epochs=1", attack="pgd:steps=2")
    as_table = outcome(student={"name": "kd", "epochs": 1, "alpha": 0.5}, attack=[{"name": "pgd", "steps": 2}])
    as_component = outcome(student=rc.student("kd", epochs=1, alpha=0.5), attack=[rc.attack("pgd", steps=2)])
    assert as_text == as_table == as_component


def test_settings_are_checked_before_anything_starts() -> None:
    with pytest.raises(rc.RequestError, match=r"No norm `l3`\. Did you mean `l2`\? Known: linf, l2"):
        rc.run(**TINY, norm="l3")
    with pytest.raises(rc.RequestError, match="`seed` is -1"):
        rc.run(**TINY, seed=-1)
    with pytest.raises(TypeError, match="sead"):
        rc.run(sead=1)  # type: ignore[call-arg]  # that is the point


def test_a_second_run_comes_from_the_cache_unless_that_is_refused(own_cache: Path) -> None:
    def work() -> set[Path]:
        return set((own_cache / "work").rglob("*.safetensors"))

    first = rc.run(**TINY)
    kept = work()
    assert kept
    again = rc.run(**TINY)
    assert again.student == first.student
    assert work() == kept
    other = rc.run(**TINY, seed=1, cache=False)
    assert other.seed == 1
    assert work() == kept


def test_a_finished_run_is_read_by_resume(tmp_path: Path) -> None:
    first = rc.run(**TINY, attack="fgsm", out=tmp_path / "out")
    for folder in (tmp_path / "out", str(tmp_path / "out")):
        assert rc.resume(folder).as_json() == first.as_json()


def test_a_run_is_repeated_with_several_seeds(tmp_path: Path) -> None:
    report = rc.repeat(2, seed=3, out=tmp_path / "out", attack="fgsm", **TINY)
    assert report.seeds == (3, 4)
    assert report.command.startswith("rcframe.repeat(")
    alone = [rc.run(**TINY, seed=seed, attack="fgsm", cache=False) for seed in (3, 4)]
    assert [run.student for run in report.runs] == [run.student for run in alone]
    assert report.student()["fgsm"].values == tuple(run.student.attacked["fgsm"].accuracy for run in alone)
    assert rc.resume(tmp_path / "out").as_json() == report.as_json()


@pytest.mark.parametrize("seeds", [1, 0, -2])
def test_one_seed_is_no_repetition(seeds: int) -> None:
    with pytest.raises(rc.RequestError, match=f"A run cannot be repeated with {seeds} seeds: ask for 2 or more"):
        rc.repeat(seeds, **TINY)


def test_a_setting_that_a_run_does_not_have_is_refused_when_it_is_repeated() -> None:
    with pytest.raises(rc.RequestError, match=r"A run has no setting `sead`\. Did you mean `seed`\?"):
        rc.repeat(2, sead=1, **TINY)
