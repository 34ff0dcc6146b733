"""What all students of this plugin have in common."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import torch
from rcframe_distill import rcframe_components
from rcframe_distill.kd import KD
from torch import Tensor, nn

from rcframe import Access, Data, Distillation, ModelOracle, RequestError, Run, neuron, pruner
from rcframe.choice import parse_choice
from rcframe.data.images import Dataset, Images, TensorImages
from rcframe.options import build, options_of
from rcframe.registry import registry
from rcframe.testing.readme import run_command
from rcframe.testing.toys import CLASSES, toy_dataset, toy_run
from rcframe.training.answers import Answers
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

NAMES = [spec.name for spec in rcframe_components()]
#: Options that keep a training short, for those students that have them.
QUICK: dict[str, object] = {"epochs": 2, "batch_size": 16, "steps": 1, "hint_epochs": 1}
#: Those that do not ask the teacher for features, so that its answers are remembered.
REMEMBERING = [name for name in NAMES if name not in ("attention", "hints")]


def strategy(name: str, **options: object) -> Distillation:
    known = {option.name for option in options_of(registry().load("student", parse_choice(name, "student")))}
    quick = {key: value for key, value in QUICK.items() if key in known}
    found = registry().make("student", parse_choice(name, "student"))
    assert isinstance(found, Distillation)
    made = build(type(found), {**quick, **options}, name)
    assert isinstance(made, Distillation)
    return made


class Forbidden(TensorImages):
    """Images whose labels nobody may read."""

    @property
    def labels(self) -> Tensor | None:
        raise AssertionError("labels were read")


def forbidden(images: Images) -> Forbidden:
    return Forbidden(images.first(len(images)).images)


def dataset(*, extra: int = 0) -> Dataset:
    return toy_dataset(extra=extra)


def train(method: Distillation, run: Run, student: nn.Module, oracle: ModelOracle) -> nn.Module:
    execute(method.plan(student, oracle, run.reading(method.data)), Monitor())
    return student


@pytest.mark.parametrize("images", ["extra", "both"])
@pytest.mark.parametrize("name", NAMES)
def test_on_extra_images_no_label_is_read_and_every_image_is_asked_about(
    name: str, images: str, teacher: nn.Module
) -> None:
    whole = dataset(extra=30)
    assert whole.extra is not None
    hidden = attrs.evolve(whole, train=forbidden(whole.train), extra=forbidden(whole.extra))
    method, run = strategy(name, images=images), toy_run("student", dataset=hidden)
    oracle = ModelOracle(teacher, Access.GREY)
    student = train(method, run, run.network("student"), oracle)
    assert Access.LABEL in method.access
    assert student(whole.test.first(2).images).isfinite().all()
    if name in REMEMBERING:
        assert oracle.queries.images == {"extra": 30, "both": 94}[images]


@pytest.mark.parametrize("name", NAMES)
def test_a_fraction_of_the_images_is_all_that_is_asked_about(name: str, teacher: nn.Module) -> None:
    method, run, oracle = strategy(name, fraction=0.5), toy_run("student"), ModelOracle(teacher, Access.GREY)
    train(method, run, run.network("student"), oracle)
    if name in REMEMBERING:
        assert oracle.queries.images == 32
    else:
        # Both epochs, every one of them; two blank images more where shapes are asked for.
        assert oracle.queries.images == {"attention": 2 + 2 * 32, "hints": 2 + 32 + 32}[name]


@pytest.mark.parametrize("name", NAMES)
def test_extra_images_that_the_data_lack_are_refused(name: str) -> None:
    with pytest.raises(RequestError, match="brings none"):
        strategy(name, images="extra").check_run(toy_run("student", Data.INPUTS))


@pytest.mark.parametrize("name", NAMES)
def test_a_spiking_student_learns(name: str, teacher: nn.Module) -> None:
    run = toy_run("student")
    student = neuron("lif", steps=2).convert(run.network("student"))
    before = [parameter.detach().clone() for parameter in student.parameters()]
    train(strategy(name), run, student, ModelOracle(teacher, Access.GREY))
    assert any(not torch.equal(a, b) for a, b in zip(before, student.parameters(), strict=True))
    assert student(run.example).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_pruned_student_learns(name: str, teacher: nn.Module) -> None:
    run = toy_run("student")
    small, _ = pruner("filters", ratio=0.5).apply(run.network("student"), run.example)
    shapes = [tuple(parameter.shape) for parameter in small.parameters()]
    train(strategy(name), run, small, ModelOracle(teacher, Access.GREY))
    assert [tuple(parameter.shape) for parameter in small.parameters()] == shapes


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_kept_by_the_stage_that_may_go_on(name: str, teacher: nn.Module) -> None:
    method, run = strategy(name), toy_run("student")
    *_, last = method.plan(run.network("student"), ModelOracle(teacher, Access.GREY), run.reading(method.data))
    assert any(isinstance(player, Answers) for player in last.players.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_teacher_gets_no_gradient_and_no_random_number_is_drawn_for_it(name: str) -> None:
    torch.manual_seed(0)
    drawing = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, CLASSES)
    ).eval()
    kept = [tensor.clone() for tensor in drawing.state_dict().values()]
    layers: dict[str, dict[str, object]] = {
        "attention": {"teacher_taps": ("2",), "taps": ("net.relu1",)},
        "hints": {"hint": "2"},
    }
    method, run = strategy(name, **layers.get(name, {})), toy_run("student")
    train(method, run, run.network("student"), ModelOracle(drawing, Access.GREY))
    assert all(torch.equal(a, b) for a, b in zip(kept, drawing.state_dict().values(), strict=True))
    assert all(parameter.grad is None for parameter in drawing.parameters())


@pytest.mark.parametrize(
    ("spec", "option"),
    [
        ("kd:alpha=1.5", "alpha"),
        ("kd:temperature=0", "temperature"),
        ("temperature:temperature=-1", "temperature"),
        ("adversarial-distill:temperature=0", "temperature"),
        ("rslad:alpha=-0.1", "alpha"),
        ("hints:hint_epochs=-1", "hint_epochs"),
        ("logits:fraction=2", "fraction"),
        ("logits:images=test", "images"),
    ],
)
def test_options_out_of_range_are_refused(spec: str, option: str) -> None:
    with pytest.raises(RequestError, match=f"`{option}` of `{spec.partition(':')[0]}`"):
        registry().make("student", parse_choice(spec, "student"))


PRESETS = [
    (spec.name, preset)
    for spec in rcframe_components()
    for preset in registry().load("student", parse_choice(spec.name, "student")).presets
]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_names_options_that_exist(name: str, preset: str) -> None:
    made = registry().make("student", parse_choice(f"{name}:preset={preset}", "student"))
    assert isinstance(made, Distillation)
    given = registry().make("student", parse_choice(f"{name}:preset={preset},epochs=3", "student"))
    assert isinstance(given, Distillation)
    assert given.epochs == 3
    assert given.batch_size == made.batch_size == (256 if (name, preset) == ("ard", "cifar100") else 128)


@pytest.mark.parametrize(
    ("preset", "temperature", "epochs", "milestones", "decay"),
    [
        ("cifar10", 4, 160, (80, 120), 0.1),
        ("cifar100", 20, 200, (60, 120, 160), 0.2),
        ("tiny-imagenet", 20, 200, (60, 120, 160), 0.2),
        ("cnn", 4, 100, (), 0.1),
    ],
)
def test_the_presets_of_kd_are_the_published_settings(
    preset: str, temperature: float, epochs: int, milestones: tuple[int, ...], decay: float
) -> None:
    made = build(KD, {"preset": preset}, "kd")
    assert (made.temperature, made.alpha, made.batch_size) == (temperature, 0.9, 128)
    assert (made.epochs, made.milestones, made.decay) == (epochs, milestones, decay)
    sgd = ("sgd", 0.1, 5e-4, "steps")
    assert (made.optimizer, made.lr, made.weight_decay, made.schedule) == (
        ("adam", 1e-3, 0.0, "constant") if preset == "cnn" else sgd
    )


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_the_command_line(name: str, tmp_path: Path) -> None:
    known = {option.name for option in options_of(registry().load("student", parse_choice(name, "student")))}
    options = ",".join(f"{key}={value}" for key, value in QUICK.items() if key in known)
    data = ["--data", "glyphs:classes=4,size=16,train=96,test=24,extra=48", "--model", "convnet:channels=4+4,hidden=8"]
    methods = ["--teacher", "plain:epochs=1", "--student", f"{name}:{options},images=both", "--access", "grey"]
    run_command(["run", *data, *methods, "--no-cache", "--quiet"], tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["student"]["clean"]["n"] == 24


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("attention:taps=nowhere", "Its taps: net.relu1, net.relu2."),
        ("hints:hint=nowhere", "Its taps: net.relu1, net.relu2."),
        ("logits:images=extra", "brings none"),
        ("ard:attack_norm=l2", "set `attack_eps`"),
        ("ard:attack=nothing", "nothing"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_trained(
    student: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rcframe.cli import main

    data = ["--data", "glyphs:classes=4,size=16,train=96,test=24", "--model", "convnet:channels=4+4,hidden=8"]
    with pytest.raises(SystemExit) as ended:
        main(["run", *data, "--student", student, "--access", "grey", "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
