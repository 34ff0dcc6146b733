"""What students keep of a robust teacher: accuracy under PGD and certified radii on the digits, seed by seed.

    python benchmarks/robust_distillation.py [SEEDS]

Teachers have hidden layers of 48 and 32 units, students one of 32; all train for 40 epochs in batches of 50 with Adam
at 1e-3. The robust teacher is trained on attacked images. PGD takes 40 steps at eps 0.05 on all test images, `convex`
certifies as many. The last line says on how many seeds adversarial distillation beats logits of the same teacher.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import attrs

import rcframe as rc

EPS = 0.05
TRAINED = "epochs=40,batch_size=50"
PLAIN, ROBUST = f"plain:{TRAINED}", f"adversarial:{TRAINED},eps={EPS}"
CRAFTED = f"{TRAINED},attack_eps={EPS}"
LOGITS, ADVERSARIAL = f"logits:{TRAINED}", f"adversarial-distill:{CRAFTED}"


@attrs.frozen
class Row:
    """One line of the table: who learns from whom."""

    words: str
    teacher: str
    student: str


@attrs.frozen
class Found:
    """What one network withstands, in percent and in pixels."""

    clean: float
    attacked: float
    radius: float

    @classmethod
    def of(cls, model: rc.ModelReport) -> Found:
        """Read it off a report with one attack and one certifier."""
        (attacked,), (certified,) = model.attacked.values(), model.radii.values()
        return cls(100 * model.clean.accuracy, 100 * attacked.accuracy, certified.mean)


ROWS = (
    Row("from labels", PLAIN, f"plain:{TRAINED}"),
    Row("`logits` of the plain teacher", PLAIN, LOGITS),
    Row("`logits` of the robust teacher", ROBUST, LOGITS),
    Row("`adversarial-distill` of the robust teacher", ROBUST, ADVERSARIAL),
    Row("`adversarial-distill:loss=kl` of the robust teacher", ROBUST, f"{ADVERSARIAL},loss=kl"),
    Row("`ard` of the robust teacher", ROBUST, f"ard:{CRAFTED}"),
    Row("`rslad` of the robust teacher", ROBUST, f"rslad:{CRAFTED}"),
    Row("from labels on attacked images", PLAIN, f"adversarial:{TRAINED},eps={EPS}"),
)


def measured(row: Row, seed: int) -> rc.Report:
    """Train and measure both networks of a row."""
    return rc.run(
        data="digits",
        model="mlp:hidden=48+32",
        student_model="mlp:hidden=32",
        teacher=row.teacher,
        student=row.student,
        attack="pgd:steps=40",
        certifier="convex",
        eps=EPS,
        radii=450,
        seed=seed,
        threads=1,
    )


def line(words: str, found: Sequence[Found]) -> str:
    """Write a line of the table: every figure for every seed."""
    cells = [
        " / ".join(f"{each.clean:.1f}" for each in found),
        " / ".join(f"{each.attacked:.1f}" for each in found),
        " / ".join(f"{each.radius:.3f}" for each in found),
    ]
    return f"| {words} | " + " | ".join(cells) + " |"


def main(seeds: int) -> None:
    """Print the table, and how often adversarial distillation is ahead."""
    print(f"| network | clean | PGD at {EPS} | mean certified eps |\n|---|---|---|---|")
    students: dict[str, list[Found]] = {}
    teachers: dict[str, list[Found]] = {}
    for row in ROWS:
        reports = [measured(row, seed) for seed in range(seeds)]
        if row.teacher not in teachers:
            teachers[row.teacher] = [Found.of(report.teacher) for report in reports]
            name = "plain teacher" if row.teacher == PLAIN else "robust teacher"
            print(line(name, teachers[row.teacher]), flush=True)
        students[row.words] = [Found.of(report.student) for report in reports]
        print(line(row.words, students[row.words]), flush=True)
    logits, adversarial = students[ROWS[2].words], students[ROWS[3].words]
    ahead = sum(b.attacked > a.attacked and b.radius > a.radius for a, b in zip(logits, adversarial, strict=True))
    print(f"\nAdversarial distillation beats logits of the robust teacher in both on {ahead} of {seeds} seeds.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
