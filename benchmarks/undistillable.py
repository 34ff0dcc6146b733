"""Do students of a nasty teacher fail, and does a skeptical one escape? Digits and glyphs, with intervals.

    python benchmarks/undistillable.py digits [--seeds 5] [--out FOLDER]
    python benchmarks/undistillable.py raw    [--seeds 5] [--out FOLDER]
    python benchmarks/undistillable.py longer [--seeds 5] [--out FOLDER]
    python benchmarks/undistillable.py glyphs [--seeds 5] [--out FOLDER]

`digits` is protocol D of the method's notes: scikit-learn's digits, 1347 to train on and 450 to test on, Adam with
1e-3, batches of 64. Networks of the zoo take mean and deviation out of pixels first, which that protocol does not:
`raw` has its networks as they are there, `longer` other ways of making the teacher nasty and students that train longer
than that protocol says. `glyphs` asks the same with 40 classes and a residual network that has its training images
right. All runs in this process, one after the other; with --out, the same command goes on where it was
stopped.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs
import torch

from rcframe import Group
from rcframe.experiments.matrix_file import parse_matrix
from rcframe.experiments.plan import make_plan
from rcframe.findings.figures import compare, estimate_of, figure_of, parse_about
from rcframe.findings.statistics import Difference
from rcframe.session.evidence import About
from rcframe.testing.shortened import carry_out_here

TEACHER, STUDENT = parse_about("teacher clean"), parse_about("student clean")
#: Whether a bar is set for every seed alone, or for their mean.
Asked = Literal["every seed", "on average"]

DIGITS = """
title = "digits"
seeds = 5
[run]
data = "digits"
model = "digitnet"
[vary.teacher]
plain = "plain:epochs=30"
"nasty 0.004" = "nasty:omega=0.004,temperature=4,epochs=60,adversary_epochs=30"
"nasty 0.01" = "nasty:omega=0.01,temperature=4,epochs=60,adversary_epochs=30"
[vary.student_model]
cnn = "digitnet:channels=8,hidden="
mlp = "mlp:hidden=32"
blocknet = "blocknet"
[vary.student]
labels = "plain:epochs=40"
kd = "kd:epochs=40,temperature=4,alpha=0.9"
skeptical = "skeptical:epochs=40,temperature=4,alpha=0.9,beta=0.3,head=plain,detach=true"
"heads alone" = "skeptical:epochs=40,temperature=4,alpha=0,beta=0.3,head=plain,detach=true"
[[exclude]]
teacher = ["nasty 0.004", "nasty 0.01"]
student = ["labels", "heads alone"]
[[exclude]]
student_model = ["cnn", "mlp"]
student = ["skeptical", "heads alone"]
[[exclude]]
student_model = ["cnn", "mlp"]
teacher = "nasty 0.01"
"""

RAW = """
title = "digits, raw pixels"
seeds = 5
[run]
data = "digits"
model = "digitnet:normalize=false"
[vary.teacher]
plain = "plain:epochs=30"
"nasty 0.004" = "nasty:omega=0.004,temperature=4,epochs=60,adversary_epochs=30"
[vary.student_model]
cnn = "digitnet:channels=8,hidden=,normalize=false"
mlp = "mlp:hidden=32,normalize=false"
[vary.student]
labels = "plain:epochs=40"
kd = "kd:epochs=40,temperature=4,alpha=0.9"
[[exclude]]
teacher = "nasty 0.004"
student = "labels"
"""

LONGER = """
title = "digits, other teachers"
seeds = 5
[run]
data = "digits"
model = "digitnet"
[vary.teacher]
plain = "plain:epochs=30"
"nasty, 120 epochs" = "nasty:omega=0.004,temperature=4,epochs=120,adversary_epochs=30"
"nasty, warm start" = "nasty:omega=0.004,temperature=4,epochs=60,adversary_epochs=30,init_from=adversary"
"nasty, omega 0.006" = "nasty:omega=0.006,temperature=4,epochs=60,adversary_epochs=30"
[vary.student_model]
cnn = "digitnet:channels=8,hidden="
mlp = "mlp:hidden=32"
[vary.student]
kd = "kd:epochs=40,temperature=4,alpha=0.9"
"kd, 80 epochs" = "kd:epochs=80,temperature=4,alpha=0.9"
"""

GLYPHS = """
title = "glyphs"
seeds = 5
[run]
data = "glyphs:classes=40,size=16,train=3000,test=2000,noise=0.02"
model = "wideresnet:depth=10,factor=1,width=0.5"
student_model = "blocknet"
[vary.teacher]
plain = "plain:epochs=30"
nasty = "nasty:omega=0.01,temperature=20,epochs=40,adversary_epochs=30"
[vary.student]
labels = "plain:epochs=40"
kd = "kd:epochs=40,temperature=20,alpha=0.9"
skeptical = "skeptical:epochs=40,temperature=20,alpha=0.9,beta=0.3,head=plain,detach=true"
"heads alone" = "skeptical:epochs=40,temperature=20,alpha=0,beta=0.3,head=plain,detach=true"
[[exclude]]
teacher = "nasty"
student = ["labels", "heads alone"]
"""


@attrs.frozen(kw_only=True)
class Question:
    """How much higher is a figure of one row than that of another?"""

    says: str
    higher: str
    lower: str
    about: About = STUDENT
    #: The bar in points of percent, if there is one.
    least: float | None = None
    asked: Asked = "on average"


def cost(nasty: str, plain: str, least: float | None) -> Question:
    """Ask what it costs the teacher to be nasty."""
    says = f"teacher: {nasty} over {plain}"
    return Question(says=says, higher=nasty, lower=plain, about=TEACHER, least=least, asked="every seed")


def harm(plain: str, nasty: str, least: float | None) -> Question:
    """Ask how much more an ordinary student learns from the plain teacher than from the nasty one."""
    return Question(says=f"{plain} over {nasty}", higher=plain, lower=nasty, least=least, asked="every seed")


def escape(skeptical: str, others: Sequence[str], least: float | None) -> Iterator[Question]:
    """Ask what a skeptical student gains over others: first an ordinary one, then those without a teacher."""
    for number, other in enumerate(others):
        yield Question(says=f"{skeptical} over {other}", higher=skeptical, lower=other, least=None if number else least)


#: Of blocknet, which no teacher helps.
ALONE = ("plain, blocknet, labels", "plain, blocknet, heads alone")
SCALES: Mapping[str, str] = {"digits": DIGITS, "raw": RAW, "longer": LONGER, "glyphs": GLYPHS}
#: The bars of the notes: what it costs the teacher, and what it costs the students.
NASTY = (
    cost("nasty 0.004, cnn, kd", "plain, cnn, kd", -2),
    *(harm(f"plain, {network}, kd", f"nasty 0.004, {network}, kd", 3) for network in ("cnn", "mlp")),
)
QUESTIONS: Mapping[str, tuple[Question, ...]] = {
    "digits": (
        *NASTY,
        *(harm("plain, blocknet, kd", f"nasty {omega}, blocknet, kd", None) for omega in ("0.004", "0.01")),
        *escape("nasty 0.004, blocknet, skeptical", ("nasty 0.004, blocknet, kd", *ALONE), 0.5),
        *escape("nasty 0.01, blocknet, skeptical", ("nasty 0.01, blocknet, kd", *ALONE), 1.0),
    ),
    "raw": NASTY,
    "longer": tuple(
        question
        for nasty in ("nasty, 120 epochs", "nasty, warm start", "nasty, omega 0.006")
        for question in (
            cost(f"{nasty}, cnn, kd", "plain, cnn, kd", -2),
            *(
                harm(f"plain, {network}, {student}", f"{nasty}, {network}, {student}", 3)
                for network in ("cnn", "mlp")
                for student in ("kd", "kd, 80 epochs")
            ),
        )
    ),
    "glyphs": (
        cost("nasty, kd", "plain, kd", None),
        harm("plain, kd", "nasty, kd", None),
        harm("plain, labels", "nasty, kd", None),
        *escape("nasty, skeptical", ("nasty, kd", "plain, labels", "plain, heads alone"), None),
    ),
}


def points(value: float) -> str:
    """Write a figure in points of percent."""
    return f"{100 * value:.1f}"


def seeds_of(group: Group, about: About) -> list[float]:
    """Return a figure of every seed."""
    found = [figure_of(run, about) for run in group.runs]
    return [figure.value for figure in found if figure is not None]


def learned(group: Group) -> str:
    """Return the accuracy on the training images in the teacher's last epoch, of the seed with the lowest."""
    last = [
        next(line.metrics["accuracy"] for line in reversed(run.curves) if line.stage == "teacher/train")
        for run in group.runs
    ]
    return points(min(last))


def shown(group: Group) -> str:
    """Return the line of a row: both networks, seed by seed, and the student's mean with its interval."""
    mean = estimate_of(group, STUDENT)
    assert mean is not None, "every run measures its student"
    teacher, student = (" / ".join(map(points, seeds_of(group, about))) for about in (TEACHER, STUDENT))
    interval = f"{points(mean.mean)} [{points(mean.low)}, {points(mean.high)}]"
    return f"| {group.name} | {learned(group)} | {teacher} | {student} | {interval} |"


def answered(question: Question, groups: Mapping[str, Group]) -> str:
    """Return the line of a question: the paired difference, that of every seed, and whether the bar is met."""
    higher, lower = groups[question.higher], groups[question.lower]
    found = compare(higher, lower, question.about)
    assert found is not None, "both rows have the same seeds"
    pairs = zip(seeds_of(higher, question.about), seeds_of(lower, question.about), strict=True)
    each = [first - second for first, second in pairs]
    return (
        f"| {question.says} | {points(found.mean)} [{points(found.low)}, {points(found.high)}] | "
        f"{' / '.join(map(points, each))} | {beyond_noise(found)} | {bar(question, each)} |"
    )


def beyond_noise(found: Difference) -> str:
    """Say on which side of zero the interval lies."""
    return "higher" if found.low > 0 else "lower" if found.high < 0 else "undecided"


def bar(question: Question, each: Sequence[float]) -> str:
    """Say whether the bar is met; that is about this sample, not about the interval."""
    if question.least is None:
        return ""
    judged = min(each) if question.asked == "every seed" else statistics.fmean(each)
    # A difference of images is a fraction; the bar may be one of its values.
    met = "met" if judged >= question.least / 100 - 1e-9 else "missed"
    return f"{question.least:g} {question.asked}: {met}"


def main() -> None:
    """Carry out a matrix and print both tables."""
    reader = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    reader.add_argument("scale", choices=sorted(SCALES))
    reader.add_argument("--seeds", type=int)
    reader.add_argument("--out", type=Path)
    given = reader.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        plan = make_plan(parse_matrix(tomllib.loads(SCALES[given.scale]), given.scale, "This file"), given.seeds)
        found = carry_out_here(plan, given.out or Path(scratch) / given.scale)
        groups = {group.name: group for group in found.groups}
        print("| teacher, network, student | teacher on its training images | teacher | student | mean of students |")
        print("|---" * 5 + "|")
        print("\n".join(map(shown, groups.values())))
        print("\n| question | difference [95% interval] | every seed | verdict | bar |")
        print("|---" * 5 + "|")
        print("\n".join(answered(question, groups) for question in QUESTIONS[given.scale]))


if __name__ == "__main__":
    main()
