"""Bad input, end to end: each is one sentence on stderr that says what was asked, what was found and what to do."""

from __future__ import annotations

import os
import pickle
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image

if TYPE_CHECKING:
    from tests.conftest import Command, Install

TINY = (
    *("--data", "glyphs:size=8,classes=3,train=24,test=9", "--model", "mlp:hidden=4", "--device", "cpu"),
    *("--teacher", "plain:epochs=0", "--student", "plain:epochs=0"),
)
Refused = Callable[..., str]


@pytest.fixture
def refused(cli: Command) -> Refused:
    """Run with arguments on top of a tiny run that is fine; return the sentence it is refused with."""

    def call(*arguments: str) -> str:
        before = sorted(str(path) for path in Path().rglob("*"))
        outcome = cli("run", *TINY, *arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        assert "Traceback" not in outcome.err
        assert outcome.err.startswith("Error: ")
        assert outcome.err.count("\n") == 1, outcome.err
        assert sorted(str(path) for path in Path().rglob("*")) == before, "something was written"
        return outcome.err.removeprefix("Error: ").strip()

    return call


# -- names, options, values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--attack", "pdg"], r"No attack named `pdg`\. Did you mean `pgd`\? Installed: .*fgsm, .*pgd"),
        (["--student", "skeptic"], r"No student named `skeptic`\. Did you mean `skeptical`\? Installed: plain, "),
        (["--teacher", "nsaty"], r"No teacher named `nsaty`\. Did you mean `nasty`\?"),
        (["--model", "resnet19"], r"No model named `resnet19`\. Did you mean `resnet1\d`\?"),
        (["--student-model", "mpl"], r"No model named `mpl`\. Did you mean `mlp`\?"),
        (["--data", "digist"], r"No data named `digist`\. Did you mean `digits`\?"),
        (["--pruner", "filter"], r"No pruner named `filter`\. Did you mean `filters`\?"),
        (["--neuron", "lfi"], r"No neuron named `lfi`\. Did you mean `lif`\?"),
        (["--certifier", "konvex"], r"No certifier named `konvex`\. Did you mean `convex`\?"),
        (["--attack", "pgd:step=5"], r"`pgd` has no option `step`\. Did you mean `steps`\? Its options: steps, "),
        (["--teacher", "plain:epoch=5"], r"`plain` has no option `epoch`\. Did you mean `epochs`\?"),
        (["--attack", "pgd:steps=many"], "Option `steps` of `pgd` is 'many', but it must be: whole number at least 1"),
        (["--attack", "pgd:random_start=maybe"], "Option `random_start` of `pgd` .* true or false"),
        (["--teacher", "plain:optimizer=adm"], r"must be: one of adam, sgd\. Did you mean `adam`\?"),
        (["--attack", "pgd:steps=0"], r"Option `steps` of `pgd` is 0, but it must be at least 1\.$"),
        (["--student", "kd:alpha=1.5"], r"Option `alpha` of `kd` is 1\.5, but it must be between 0 and 1\.$"),
        (["--attack", "pgd:steps=5,"], "Cannot read the attack `pgd:steps=5,`: .* Write it as `name` or `name:option"),
        (["--attack", "pgd:steps=(5"], "Cannot read the attack .*: its parentheses do not match"),
        (["--attack", "pgd:steps=5,steps=6"], "Cannot read the attack .*: option `steps` is given twice"),
        (["--attack", "PGD"], r"Cannot read the attack `PGD`: .* \(lower-case"),
        (["--attack", "pgd:5"], "`pgd` takes its options by name, as in `pgd:option=value`"),
        (["--eps", "much"], r"eps is 'much', but it must be a number in pixels, such as 0\.03 or 8/255"),
        (["--eps", "8"], r"eps is 8, but pixels lie in \[0, 1\]: write 8/255"),
        (["--eps", "-0.1"], r"eps is -0\.1, but a radius cannot be negative"),
        (["--seed", "-1"], "`seed` is -1, but it must be a whole number of 0 or more"),
        (["--access", "gray"], r"No access level `gray`\. Did you mean `grey`\? Presets: none, hard, soft"),
        (["--device", "cuda:99"], r"Device `cuda:99` is not there: this machine has \d+ CUDA devices\. Use --device"),
        (["--device", "gpu"], "No device `gpu`. Devices: auto, cpu, cuda"),
        (["--device", "meta"], "Device `meta` is not supported. Devices: auto, cpu"),
        (
            ["--access", "hard", "--student", "kd"],
            "Student `kd` needs logits from the teacher; --access hard grants labels. Nearest that would run: --access",
        ),
        (
            ["--certifier", "convex", "--model", "digitnet"],
            r"Certifier `convex` cannot certify the teacher: layer `net\.\S+` \(\w+\) is not .* Nearest that would",
        ),
        (
            ["--attack", "fgsm", "--norm", "l2"],
            "Attack `fgsm` works in linf, not in l2. Nearest that would run: --norm linf.",
        ),
        (["gone.toml"], "Cannot read the configuration `gone.toml`: No such file or directory"),
    ],
)
def test_what_was_asked_is_answered_with_what_to_do(arguments: list[str], complaint: str, refused: Refused) -> None:
    text = refused(*arguments)
    assert re.search(complaint, text), text


#: A network with taps.
TAPPED = ("--student-model", "convnet:channels=4+4,hidden=8", "--model", "convnet:channels=4+4,hidden=8")
GREY = ("--access", "grey")


@pytest.mark.parametrize(
    ("student", "option", "whose", "layer"),
    [
        ("attention:taps=net.relu1+foo", "taps", "student", "foo"),
        ("attention:teacher_taps=foo", "teacher_taps", "teacher", "foo"),
        ("hints:guided=foo", "guided", "student", "foo"),
        ("hints:hint=", "hint", "teacher", ""),
        ("skeptical:tap=foo", "tap", "network", "foo"),
        ("skeptical:tap=", "tap", "network", ""),
        ("skeptical-e:deeper=foo", "deeper", "network", "foo"),
        ("self:taps=foo", "taps", "network", "foo"),
    ],
)
def test_a_mistyped_layer_is_refused_with_its_option_and_the_taps_and_no_other_method(
    student: str, option: str, whose: str, layer: str, refused: Refused
) -> None:
    text = refused("--student", student, *TAPPED, *GREY)
    assert text.startswith(f"In the option `{option}`: the {whose} has no layer `{layer}`.")
    assert text.endswith("Its taps: net.relu1, net.relu2.")
    text = refused("--student", student.replace("foo", "relu2"), *TAPPED, *GREY)
    assert layer == "" or "Did you mean `net.relu2`?" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--teacher", "stingy:teacher=nasty,epochs=2"], r"write `stingy:teacher=\(nasty:epochs=2\)`\.$"),
        (
            ["--teacher", "stingy:epochs=2"],
            r" `epochs` is an option of `plain`: write `stingy:teacher=\(plain:epochs=2",
        ),
        (["--teacher", "distilled:student=kd,alpha=0"], r"write `distilled:student=\(kd:alpha=0\)`\.$"),
        (["--teacher", "stingy:()"], r"^The teacher is an empty text: write its name"),
        (["--teacher", "stingy:teacher="], r"^The teacher is an empty text"),
        (["--student", "kd:attack=()"], r"^In the option `attack` of student `kd`: The attack is an empty text"),
        (["--teacher", "stingy:(nasty"], "its parentheses do not match"),
        (["--teacher", "stingy:(nasty))"], "its parentheses do not match"),
        (["--teacher", "stingy:(noisy:(nsaty))"], r"^No teacher named `nsaty`\. Did you mean `nasty`\?"),
        (["--teacher", "stingy:(nasty:temperature=-1)"], r"^Option `temperature` of `nasty` is -1\.0, but it must be"),
        (["--teacher", "stingy:(nasty:omega=nan)"], r"^Option `omega` of `nasty` is 'nan', but it must be: number"),
        (["--teacher", "stingy:(nasty:preset=none)"], r"^`nasty` has no preset `none`\. Its presets: cifar10"),
        (["--teacher", "nasty:preset=cifar10,preset=cifar10"], "option `preset` is given twice"),
        (
            ["--teacher", "noisy:nasty,preset=cifar10"],
            r"It has none\. .* write `noisy:teacher=\(nasty:preset=cifar10\)`",
        ),
        (["--teacher", f"stingy:keep={10**30}"], rf"^Teacher `stingy` is to let out {10**30} logits"),
        (["--teacher", "distilled:student=kd,teacher=distilled"], "needs to know how it learns"),
        (
            ["--teacher", "distilled:student=distilled"],
            r"No student named .* `distilled` is of another kind: teacher\.$",
        ),
        (["--teacher", "distilled:student=(kd:alpha=2)"], r"^Option `alpha` of `kd` is 2\.0, but it must be between 0"),
        (["--student-model", "file:student.safetensors"], r"No model named `file`.* is of another kind: teacher\.$"),
    ],
)
def test_what_is_wrong_inside_a_nested_spec_is_said_of_the_part_it_is_in(
    arguments: list[str], complaint: str, refused: Refused
) -> None:
    text = refused(*arguments)
    assert re.search(complaint, text), text


SET_ASIDE = ("--data", "glyphs:size=8,classes=3,train=24,test=9,validation=0.2")
EXTRA = ("--data", "glyphs:size=8,classes=3,train=24,test=9,extra=12")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--student", "kd:images=extra"],
            r"^A student is to learn on extra images \(images=extra\), but the data set `glyphs` brings none: choose",
        ),
        (["--student", "kd:images=some"], r"`images` of `kd` .* one of train, extra, both"),
        (["--student", "kd:fraction=0.02"], r"^A fraction of 0\.02 of 24 images is 0, but training needs two or more"),
        (["--teacher", "plain:fraction=0.02"], r"^A fraction of 0\.02 of 24 images is 0"),
        (["--student", "kd:images=extra,fraction=0.1", *EXTRA], r"^A fraction of 0\.1 of 12 images is 1, but training"),
        (
            ["--student", "kd:fraction=2"],
            r"Option `fraction` of `kd` is 2\.0, but it must be more than 0 and at most 1: a share of the",
        ),
        (
            ["--student", "kd:fraction=0"],
            r"^Option `fraction` of `kd` is 0\.0, but it must be more than 0 and at most 1: a share of the images, of "
            r"which 1 is all\.$",
        ),
        (["--student", "kd:temperature=0"], r"Option `temperature` of `kd` is 0\.0, but it must be more than 0\.$"),
        (["--student", "kd:temperature=-2"], r"Option `temperature` of `kd` is -2\.0, but it must be more than 0\.$"),
        (["--student", "kd:alpha=-0.1"], r"Option `alpha` of `kd` is -0\.1, but it must be between 0 and 1\.$"),
        (["--student", "kd:alpha=nan"], r"Option `alpha` of `kd` is 'nan', but it must be: number between 0 and 1\.$"),
        (["--student", "kd:patience=-1", *SET_ASIDE], r"Option `patience` of `kd` is -1, but it must be at least 0\.$"),
        (
            ["--student", "kd:patience=2"],
            r"^patience=2 judges every epoch on validation images, but none are set aside",
        ),
        (["--teacher", "plain:patience=2"], r"none are set aside: .* as in `--data glyphs:validation=0\.1`, or leave"),
        (["--attack", "pgd:preset=quick"], r"^`pgd` has no preset `quick`\. It has none\.$"),
        (
            ["--student", "kd", "--access", "soft"],
            r"^Student `kd` needs logits from the teacher; --access soft grants .* Nearest that would run: --access",
        ),
    ],
)
def test_a_student_that_cannot_be_as_asked(arguments: list[str], complaint: str, refused: Refused) -> None:
    text = refused(*arguments)
    assert re.search(complaint, text), text


def test_a_budget_below_the_images_that_the_student_learns_on(cli: Command) -> None:
    budget = ("--student", "kd:epochs=1", "--budget", "23", "--out", "short")
    outcome = cli("run", *TINY, *budget)
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    assert (
        "Error: The teacher is to answer for 24 images, each of them once, but the query budget leaves 23. Start "
        "another run with a larger --budget, or with fewer images by the student's option `fraction`; the teacher "
        "comes from the cache."
    ) in outcome.err
    # A run that goes on keeps its budget.
    assert "--resume" not in outcome.err
    for spec, allowed in (("kd:epochs=3", "24"), ("kd:epochs=3,fraction=0.5", "12")):
        asked = ("--student", spec, "--budget", allowed, "--out", f"enough-{allowed}")
        assert cli("run", *TINY, *asked).code == 0


PICKY = """
from rcframe import Data, StudentStrategy, Training, component

@component
class Picky(Training, StudentStrategy):
    'Learns from its like.'
    data = Data.NONE
    def mismatch(self, student, teacher):
        ours, theirs = (sum(p.numel() for p in net.parameters()) for net in (student, teacher))
        return None if ours == theirs else f"it has {theirs} weights and the student {ours}"
    def plan(self, student, teacher, run):
        return iter(())
"""


def test_a_student_that_does_not_go_with_its_teacher(install: Install, refused: Refused, cli: Command) -> None:
    install(
        "acme-one",
        [{"kind": "student", "name": "picky", "target": "acme_one:Picky", "summary": "Is picky."}],
        body=PICKY,
    )
    assert re.match(
        r"Student `picky` cannot learn from this teacher: it has \d+ weights and the student \d+\. "
        r"Nearest that would run: --model convnet --student-model convnet\.$",
        refused("--student", "picky", "--student-model", "mlp:hidden=5"),
    )
    assert cli("run", *TINY, "--student", "picky", "--out", "fine").code == 0
    text = refused("--student", "picky:patience=2", *SET_ASIDE)
    assert text.startswith("patience=2 judges every epoch on validation images, but this method reads no images: leave")


UNEVEN = """
from rcframe import DataInfo, Dataset, DataSource, TensorImages, component
import torch

@component
class Uneven(DataSource):
    'Brings extra images of another size.'
    def load(self, root):
        x, y = torch.rand(12, 3, 8, 8), torch.arange(12) % 3
        info = DataInfo('uneven', (3, 8, 8), ('a', 'b', 'c'), (0.5,) * 3, (0.5,) * 3)
        return Dataset(info, TensorImages(x, y), TensorImages(x, y), extra=TensorImages(torch.rand(6, 3, 9, 9)))
"""


def test_extra_images_of_another_size(install: Install, refused: Refused) -> None:
    install(
        "acme-one",
        [{"kind": "data", "name": "uneven", "target": "acme_one:Uneven", "summary": "Is uneven."}],
        body=UNEVEN,
    )
    for spec in ("kd:images=extra", "kd:images=both", "kd"):
        assert refused("--data", "uneven", "--student", spec) == (
            "The extra images of `uneven` have the shape (3, 9, 9), but the data set announces (3, 8, 8): mend `shape` "
            "in the data source."
        )


def test_a_configuration_with_a_mistake_is_a_sentence(refused: Refused) -> None:
    for content, complaint in {
        "seed = ": "`run.toml` is not valid TOML: ",
        "sead = 1": "A run has no setting `sead`. Did you mean `seed`?",
        "seed = '1'": "`seed` is '1', but it must be a whole number",
        "[[attack]]\nsteps = 3": "The attack table {'steps': 3} has no `name`",
        "attack = 3": "Cannot read 3 as the attack",
    }.items():
        Path("run.toml").write_text(content)
        assert refused("run.toml").startswith(complaint)


# -- models and weights -----------------------------------------------------------------------------------------------

NETS = """
from torch import nn

def five(shape):
    c, h, w = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, 5))

def grey():
    return nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())

def picture():
    return nn.Identity()
"""


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        ("five", r"The model has 5 outputs but data set `glyphs` has 3 classes: give its last layer 3 outputs"),
        ("grey", r"The model cannot read the images of `glyphs` .*\(3, 8, 8\).* Choose a model for such images"),
        (
            "picture",
            r"The model turns one image of `glyphs` into a tensor of shape \(1, 3, 8, 8\), but logits \(1, 3\)",
        ),
        ("none", r"Module `own_nets\.nets` .* has no `none`"),
    ],
)
def test_a_model_of_ones_own_that_does_not_fit(
    function: str, complaint: str, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own_nets").mkdir()
    Path("own_nets/nets.py").write_text(NETS)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert re.match(complaint, refused("--model", f"own_nets.nets:{function}"))
    for module in ("own_nets.nets", "own_nets"):
        del sys.modules[module]


def test_a_student_with_other_classes_than_its_teacher(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own_nets").mkdir()
    Path("own_nets/nets.py").write_text(NETS)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert refused("--student", "kd", "--student-model", "own_nets.nets:five").startswith(
        "The model has 5 outputs but data set `glyphs` has 3 classes: give its last layer 3 outputs"
    )
    for module in ("own_nets.nets", "own_nets"):
        del sys.modules[module]


def test_a_teacher_with_other_classes_than_its_student(cli: Command, refused: Refused) -> None:
    others = [part.replace("classes=3", "classes=5") for part in TINY]
    assert cli("run", *others, "--out", "five").code == 0
    assert refused("--teacher", "run:five", "--student", "kd") == (
        "`five/student.safetensors` was trained on images (3, 8, 8) with 5 classes, but data set `glyphs` has images "
        "(3, 8, 8) and 3 classes. Use the same --data."
    )
    text = refused("--teacher", "file:five/student.safetensors", "--student", "kd")
    assert text.startswith(
        "`five/student.safetensors` does not fit the model: `net.fc2.weight` is (5, 4), but the model needs (3, 4)."
    )


def test_a_function_that_is_not_there(refused: Refused) -> None:
    assert refused("--model", "no_nets.here:small").startswith(
        "No module `no_nets` was found for the model `no_nets.here:small`: run rcframe in the folder that has it"
    )


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self._mark),))


def weights(outputs: int = 3) -> dict[str, torch.Tensor]:
    return {
        "net.hidden.weight": torch.zeros(4, 192),
        "net.hidden.bias": torch.zeros(4),
        "net.out.weight": torch.zeros(outputs, 4),
    }


def test_weights_that_are_missing_truncated_foreign_or_of_another_shape(cli: Command, refused: Refused) -> None:
    assert cli("run", *TINY, "--out", "good").code == 0
    good = Path("good/teacher.safetensors").read_bytes()
    Path("short.safetensors").write_bytes(good[: len(good) - 40])
    Path("tiny.safetensors").write_bytes(good[:5])
    Path("text.safetensors").write_text("not weights")
    torch.save(weights(), "other.pt")
    Path("short.pt").write_bytes(Path("other.pt").read_bytes()[:300])
    for file, complaint in {
        "gone.safetensors": "There is no weights file `gone.safetensors`",
        "short.safetensors": "`short.safetensors` is damaged or no weights file: ",
        "tiny.safetensors": "`tiny.safetensors` is damaged or no weights file: ",
        "text.safetensors": "`text.safetensors` is damaged or no weights file: ",
        "short.pt": "`short.pt` is damaged or no weights file: ",
        "other.pt": "`other.pt` does not fit the model: missing ",
    }.items():
        assert refused("--teacher", f"file:{file}").startswith(complaint)
    text = refused("--teacher", "file:good/teacher.safetensors", "--model", "mlp:hidden=5")
    assert re.match(
        r"`good/teacher\.safetensors` does not fit the model: `net\..*` is \(4, .*the model needs \(5, ", text
    )
    assert refused("--teacher", "file").startswith("Teacher `file` needs a path: write `file:weights.safetensors`")
    assert refused("--teacher", "run:gone").startswith("`gone` is not the folder of a finished run")
    text = refused("--teacher", "run:good", "--data", "glyphs:size=8,classes=4,train=24,test=9")
    assert "was trained on images (3, 8, 8) with 3 classes, but data set `glyphs` has images" in text


@pytest.mark.parametrize("suffix", ["pt", "pth", "safetensors", "bin"])
def test_a_pickle_never_runs_its_code(suffix: str, refused: Refused, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    torch.save({"weight": Bomb(mark)}, f"torch.{suffix}")
    Path(f"plain.{suffix}").write_bytes(pickle.dumps({"weight": Bomb(mark)}))
    for file in (f"torch.{suffix}", f"plain.{suffix}"):
        text = refused("--teacher", f"file:{file}")
        assert text.startswith(f"`{file}` ")
        assert not mark.exists()
        if suffix in ("pt", "pth"):
            assert re.search(r"wants to run code .*when it is read, so it was refused", text)


# -- data files -------------------------------------------------------------------------------------------------------


def write_mnist(root: Path, count: int = 3) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        images = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + bytes(count * 28 * 28)
        labels = struct.pack(">4BI", 0, 0, 8, 1, count) + bytes(range(count))
        (folder / f"{split}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(labels)
    return folder


def test_data_files_that_are_missing_or_truncated(cli: Command, refused: Refused, tmp_path: Path) -> None:
    mnist = ("--data", "mnist", "--data-root", str(tmp_path))
    text = refused(*mnist)
    assert text.startswith(f"The files of `mnist` are not below `{tmp_path}`: expected `train-images-idx3-ubyte`, ")
    assert "Choose the folder with `--data-root` or the variable `RCFRAME_DATA`" in text
    folder = write_mnist(tmp_path)
    assert cli("run", *TINY, *mnist, "--out", str(tmp_path / "out")).code == 0
    whole = (folder / "t10k-images-idx3-ubyte").read_bytes()
    (folder / "t10k-images-idx3-ubyte").write_bytes(whole[:-1])
    assert re.match(
        rf"`.*t10k-images-idx3-ubyte` is damaged: its header announces {len(whole)} bytes, but it holds "
        rf"{len(whole) - 1}\. Replace the file",
        refused(*mnist),
    )
    (folder / "t10k-labels-idx1-ubyte").unlink()
    assert "`MNIST/raw` lacks `t10k-labels-idx1-ubyte`" in refused(*mnist)


def write_images(folder: Path, *classes: str) -> Path:
    for split in ("train", "val"):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), "red").save(folder / split / name / "a.png")
    return folder


def test_an_image_folder_with_one_class(refused: Refused, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", "cat")
    assert refused("--data", f"folder:{folder},size=8").startswith(
        f"`{folder}/train` has 1 class folders (cat), but a classifier needs two or more"
    )


@pytest.mark.parametrize("content", [b"not an image", b"", b"\x89PNG\r\n\x1a\n"])
def test_an_image_folder_with_an_unreadable_image(content: bytes, refused: Refused, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", "cat", "dog")
    (folder / "val" / "dog" / "b.png").write_bytes(content)
    assert re.match(
        rf"`{folder}/val/dog/b\.png` is not a readable image .* Replace or remove",
        refused("--data", f"folder:{folder},size=8"),
    )


def test_an_image_folder_that_is_not_there(refused: Refused) -> None:
    assert "There is no `train` folder in `nowhere`" in refused("--data", "folder:nowhere")


# -- the output folder ------------------------------------------------------------------------------------------------


def test_an_output_folder_that_exists_or_cannot_be_made(refused: Refused) -> None:
    Path("full").mkdir()
    Path("full/precious").write_text("do not touch")
    Path("file").write_text("do not touch")
    assert refused("--out", "full") == (
        "The output folder `full` exists already. Choose another with --out, remove it, or go on with the run in it: "
        "rcframe run --resume full"
    )
    assert refused("--out", "file").startswith("The output folder `file` exists already")
    assert refused("--out", "file/below") == "Cannot create the output folder `file/below`: Not a directory."
    assert Path("full/precious").read_text() == Path("file").read_text() == "do not touch"


def test_a_current_folder_where_no_runs_folder_can_be_made(refused: Refused) -> None:
    Path("runs").write_text("in the way")
    assert refused().startswith("Cannot create the output folder `runs/glyphs-plain-plain-1`: ")


# -- plugins ----------------------------------------------------------------------------------------------------------

BROKEN = {
    "raises at import": ("1 / 0", "ZeroDivisionError"),
    "registers a name twice": ("TWICE", "it announces attack `still` twice"),
    "is for another API": ("NEWER", "it was written for plugin API 2"),
    "has a wrong signature": (
        "from rcframe import hookimpl\n@hookimpl\ndef rcframe_components(colour):\n    return []\n",
        "'colour'",
    ),
}
STILL: dict[str, object] = {"kind": "attack", "name": "still", "target": "acme_parts:Still", "summary": "Does nothing."}
ANNOUNCED: dict[str, list[dict[str, object]]] = {"TWICE": [STILL, STILL], "NEWER": [{**STILL, "api": 2}]}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_component_of_a_plugin_that_failed_is_refused_with_the_way_to_the_reason(
    source: str, reason: str, install: Install, cli: Command, refused: Refused
) -> None:
    install("acme-bad", ANNOUNCED.get(source, ()), source=None if source in ANNOUNCED else source)
    text = refused("--attack", "still")
    assert text.startswith("No attack named `still`.")
    assert text.endswith("1 plugin failed to load (acme-bad): see `rcframe plugins`.")
    listed = [line for line in cli("plugins").out.splitlines() if line.startswith("broken acme-bad 1.0: ")]
    assert len(listed) == 1
    assert reason in listed[0]
    assert cli("run", *TINY, "--out", "fine").code == 0


def test_a_clash_of_plugins_is_refused_with_both_names(install: Install, refused: Refused) -> None:
    install("acme-one", [STILL])
    install("acme-two", [STILL])
    assert refused("--attack", "still") == (
        "Attack `still` is announced by acme-one, acme-two. Say which one: `acme-one/still`, `acme-two/still`."
    )


def test_a_plugin_whose_component_is_not_there(install: Install, refused: Refused) -> None:
    install("acme-one", [{**STILL, "target": "acme_no_such:Still"}])
    assert refused("--attack", "still").startswith(
        "Attack `still` of `acme-one` cannot be imported from `acme_no_such:Still`: ModuleNotFoundError: "
    )
