"""Kill real runs with SIGKILL at random instants, let them go on, and compare with runs that were left alone.

    python benchmarks/kills.py 100

prints how many kills hit which piece of work, and every difference and unreadable file found.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

# One thread: a process is forked after torch was imported, which threads would not survive.
os.environ["OMP_NUM_THREADS"] = "1"

_DATA = ["--data", "glyphs:classes=4,size=16,train=160,test=64", "--model", "convnet:channels=4+4,hidden=8"]
_QUICK = "epochs=2,batch_size=16"
#: One run for every kind of stage that the plugins have, and every kind of measurement.
SCENARIOS: dict[str, list[str]] = {
    "nasty, skeptical, pgd": [
        f"--teacher=nasty:{_QUICK}",
        f"--student=skeptical:{_QUICK},head=plain",
        "--attack=pgd:steps=3,restarts=2",
    ],
    "augmented, two phases, momentum, schedule": [
        f"--teacher=plain:{_QUICK},optimizer=sgd,lr=0.01,schedule=cosine",
        f"--student=kd:{_QUICK}",
        f"--student=plain:{_QUICK},optimizer=sgd,lr=0.01,schedule=steps,milestones=1",
        "--data=glyphs:classes=4,size=16,train=160,test=64,augment=flip+crop",
        "--attack=fgsm",
    ],
    "heads that stay, own teacher": [
        f"--teacher=plain:{_QUICK}",
        f"--student=self:{_QUICK},head=plain",
        f"--student=skeptical-e:{_QUICK},head=plain",
        "--pruner=filters:ratio=0.5,finetune=1",
        "--attack=fgsm",
    ],
    "pruned": [
        f"--teacher=rounded:teacher=(plain:{_QUICK}),decimals=1",
        f"--student=kd:{_QUICK}",
        "--pruner=filters:ratio=0.5,finetune=2",
        "--attack=fgsm",
    ],
    "spiking": [
        f"--teacher=stingy:teacher=(plain:{_QUICK}),keep=2",
        f"--student=kd:{_QUICK}",
        "--neuron=lif:steps=2",
        "--attack=fgsm",
    ],
    "certified, bf16": [
        f"--teacher=plain:{_QUICK}",
        f"--student=kd:{_QUICK}",
        "--precision=bf16",
        "--certifier=convex",
        "--eps=0.005",
        "--eval-size=32",
    ],
    "against attacks, a curve": [
        f"--teacher=adversarial:{_QUICK},steps=2",
        f"--student=free:{_QUICK}",
        "--attack=bim:steps=3",
        "--attack=uniform",
        "--attack=deepfool:steps=3",
        "--eps=0.02,0.05,0.1",
        "--eval-size=64",
    ],
    "smoothed, a twin": [
        f"--teacher=trades:{_QUICK},steps=2",
        f"--student=adversarial:{_QUICK},steps=2",
        "--attack=mim:steps=3",
        "--attack=transfer:attack=(pgd:steps=2)",
        "--attack=gaussian",
        "--eval-size=64",
    ],
    "by what is misclassified, without gradients": [
        f"--teacher=mart:{_QUICK},steps=2",
        f"--student=trades:{_QUICK},steps=2",
        "--attack=nes:steps=2,pairs=4",
        "--attack=spsa:steps=2,pairs=4",
        "--attack=hopskipjump:queries=60",
        "--attack=square:queries=20",
        "--eval-size=32",
    ],
    "one step, an ensemble": [
        f"--teacher=fast:{_QUICK}",
        f"--student=mart:{_QUICK},steps=2",
        "--attack=auto:steps=3,queries=10",
        "--attack=apgd-ce:steps=3",
        "--attack=apgd-t:steps=3,targets=2",
        "--attack=fab-t:steps=3,targets=2",
        "--eval-size=32",
    ],
    "an ensemble, generations": [
        f"--teacher=ensemble:members=2,teacher=(plain:{_QUICK}),models=(convnet:channels=4+4,hidden=8;mlp:hidden=8)",
        f"--student=born-again:{_QUICK},generations=2",
        f"--student=label-smoothing:{_QUICK}",
        "--attack=fgsm",
    ],
    "counter-attacks": [
        f"--teacher=nasty:{_QUICK}",
        f"--student=htc:{_QUICK}",
        f"--student=scm:{_QUICK},intermediates=2",
        "--attack=fgsm",
    ],
    "answers for images without labels, layers of the teacher": [
        f"--teacher=plain:{_QUICK}",
        f"--student=logits:{_QUICK},images=both",
        f"--student=temperature:{_QUICK},images=extra",
        f"--student=attention:{_QUICK}",
        f"--student=hints:{_QUICK},hint_epochs=2",
        "--data=glyphs:classes=4,size=16,train=160,test=64,extra=96",
        "--access=grey",
        "--attack=fgsm",
    ],
    "crafted against the student": [
        f"--teacher=plain:{_QUICK}",
        f"--student=adversarial-distill:{_QUICK},steps=2",
        f"--student=ard:{_QUICK},steps=2,alpha=0.5,attack_mode=train",
        f"--student=rslad:{_QUICK},steps=2",
        "--attack=fgsm",
    ],
    "noise that never repeats itself": [
        f"--teacher=noisy:teacher=(plain:{_QUICK}),repeat=false",
        f"--student=kd:{_QUICK}",
        "--attack=square:queries=20",
        "--eval-size=64",
    ],
    "a third generation": [
        f"--teacher=distilled:student=(kd:{_QUICK}),teacher=(noisy:teacher=(distilled:student=(kd:{_QUICK}),"
        f"teacher=(nasty:{_QUICK},init_from=adversary,trainable=last)),repeat=false)",
        f"--student=kd:{_QUICK}",
        "--attack=fgsm",
    ],
    "replayed, in l2": [
        f"--teacher=free:{_QUICK}",
        f"--student=fast:{_QUICK}",
        "--attack=fgm",
        "--attack=cw:steps=5,searches=2",
        "--attack=eot:attack=(pgd:steps=2),samples=2",
        "--attack=foolbox:l2-pgd",
        "--norm=l2",
        "--eps=0.5",
        "--eval-size=32",
    ],
}


@attrs.frozen
class Ended:
    """How a run that was killed again and again ended."""

    kills: int
    #: What was going on at each kill.
    hit: tuple[str, ...]
    differences: tuple[str, ...]


def arguments(scenario: str, folder: Path) -> list[str]:
    """Return the command line of a scenario; state is written after every batch."""
    return ["run", *_DATA, *SCENARIOS[scenario], "--checkpoint=0", "--no-cache", "--quiet", "--out", str(folder)]


def start(command: Sequence[str]) -> int:
    """Start `rcframe` with arguments in a process of its own and return its number."""
    process = os.fork()
    if process == 0:
        # Whatever happens in the child must not return into the caller's program.
        code = 1
        try:
            from rcframe.cli import main

            main(command)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            os._exit(code)
    return process


def undisturbed(scenario: str, folder: Path) -> None:
    """Carry out a scenario without any kill."""
    _, status = os.waitpid(start(arguments(scenario, folder)), 0)
    if status != 0:
        raise RuntimeError(f"`{scenario}` failed without being killed")


def kill_often(scenario: str, folder: Path, reference: Path, kills: int, chance: random.Random) -> Ended:
    """Kill a run `kills` times, each time after it has got a little further, and let it end."""
    hit: list[str] = []
    seen: set[str] = set()
    while True:
        begun = (folder / "run.toml").exists()
        process = start(
            ["run", "--resume", str(folder), "--no-cache", "--quiet"] if begun else arguments(scenario, folder)
        )
        if len(hit) >= kills or not _kill_soon(process, folder, seen, chance):
            _, status = os.waitpid(process, 0)
            return Ended(len(hit), tuple(hit), (*_differences(folder, reference), *_failed(status)))
        hit.append(_working_on(folder))


def _kill_soon(process: int, folder: Path, seen: set[str], chance: random.Random) -> bool:
    """Kill a process a random moment after it has begun new work; False if it ends before that."""
    while not _ended(process):
        new = {path.name for path in (folder / "progress").glob("[!.]*")} - seen
        # The very start, before anything is written, is an instant too.
        if new or chance.random() < 0.001:
            seen |= set(list(new)[:1])
            time.sleep(chance.random() ** 3 * 0.15)
            if _ended(process):
                return False
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return True
        time.sleep(0.002)
    return False


def _ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _failed(status: int) -> list[str]:
    return [f"it ended with status {status}"] if status else []


def _working_on(folder: Path) -> str:
    files = sorted((folder / "progress").glob("[!.]*.safetensors"), key=lambda path: path.stat().st_mtime)
    return files[-1].name.rpartition("-")[0] if files else "start"


def _differences(folder: Path, reference: Path) -> Iterator[str]:
    for name in ("teacher.safetensors", "student.safetensors"):
        if (folder / name).read_bytes() != (reference / name).read_bytes():
            yield f"{name} differs"
    if _numbers(folder) != _numbers(reference):
        yield "the numbers of report.json differ"
    if _curves(folder) != _curves(reference):
        yield "metrics.jsonl differs"
    if left := [path.name for path in folder.iterdir() if path.name.endswith(".tmp") or path.name == "progress"]:
        yield f"left behind: {left}"


def _numbers(folder: Path) -> dict[str, object]:
    report: dict[str, object] = json.loads((folder / "report.json").read_text())
    return {name: value for name, value in report.items() if name not in ("seconds", "command")}


def _curves(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def main(kills: int) -> None:
    """Spread kills over all scenarios until there were enough."""
    import rcframe.session.session  # noqa: F401  # so that every process starts quickly

    chance, done, hit, wrong = random.Random(0), 0, Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as place:
        for scenario in SCENARIOS:
            undisturbed(scenario, Path(place) / scenario)
        while done < kills:
            for number, scenario in enumerate(SCENARIOS):
                folder = Path(place) / f"{done}-{number}"
                ended = kill_often(scenario, folder, Path(place) / scenario, 12, chance)
                done += ended.kills
                hit.update(f"{scenario}: {what}" for what in ended.hit)
                wrong += [f"{scenario}: {difference}" for difference in ended.differences]
    for what, count in sorted(hit.items()):
        print(f"{count:4d}  {what}")
    print(f"{done} kills, {len(wrong)} differences")
    print("\n".join(wrong))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
