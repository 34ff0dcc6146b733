from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rcframe as rc
from rcframe.api import Attack, Certifier, NeuronModel, Pruner, StudentStrategy, Teacher
from rcframe.options import values_of

TINY: dict[str, Any] = {
    "data": "glyphs:size=8,classes=3,train=24,test=9",
    "model": "mlp:hidden=4",
    "teacher": "plain:epochs=1",
    "student": "plain:epochs=1",
    "device": "cpu",
}


def test_components_come_by_name_with_options_as_arguments() -> None:
    assert isinstance(rc.teacher("plain", epochs=2), Teacher)
    assert isinstance(rc.student("kd", alpha=0.5), StudentStrategy)
    assert isinstance(rc.pruner("filters"), Pruner)
    assert isinstance(rc.neuron("lif", steps=2), NeuronModel)
    assert isinstance(rc.attack("pgd", steps=5), Attack)
    assert isinstance(rc.certifier("convex"), Certifier)
    assert values_of(rc.attack("pgd", steps=5, step_size="2/255")) == {
        "steps": 5,
        "step_size": 2 / 255,
        "random_start": True,
        "restarts": 1,
    }


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
        report = rc.run(**{**TINY, **changes}, out=out)
        written = tomllib.loads((out / "run.toml").read_text())
        assert report.student.component.startswith("kd:")
        return written, (out / "student.safetensors").read_bytes(), report.student.clean, report.student.attacked

    as_text = outcome(student="kd:alpha=0.5,epochs=1", attack="pgd:steps=2")
    as_table = outcome(student={"name": "kd", "epochs": 1, "alpha": 0.5}, attack=[{"name": "pgd", "steps": 2}])
    as_component = outcome(student=rc.student("kd", epochs=1, alpha=0.5), attack=[rc.attack("pgd", steps=2)])
    assert as_text == as_table == as_component


def test_settings_are_checked_before_anything_starts() -> None:
    with pytest.raises(rc.RequestError, match=r"No norm `l3`\. Norms: linf, l2"):
        rc.run(**TINY, norm="l3")
    with pytest.raises(rc.RequestError, match="`seed` is -1"):
        rc.run(**TINY, seed=-1)
    with pytest.raises(TypeError, match="sead"):
        rc.run(sead=1)  # type: ignore[call-arg]  # that is the point
