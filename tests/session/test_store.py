from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

import attrs
import pytest
import torch
from hypothesis import example, given, strategies as st
from torch import Tensor

from rcframe.errors import RequestError, RunFailed
from rcframe.session.stopping import Interrupted, Stop
from rcframe.session.store import Changed, Store, file_name
from rcframe.session.worklog import WorkLog, read_worklog
from rcframe.storage.cache import Cache
from rcframe.storage.identity import Identity
from rcframe.storage.locks import is_locked, locked
from rcframe.storage.state_file import read_about, read_state, write_state
from rcframe.training.compute import Compute

NAME = "teacher/train"
IDENTITY = Identity({"name": NAME, "seed": "0", "lr": "0.1"})
NEVER = 1e9


class Killed(Exception):
    """What ends work at once."""


@attrs.define(eq=False)
class Sum:
    """Adds up the numbers from 1 to `total`, one per step."""

    total: int = 4
    name: str = NAME
    done: int = 0
    sum: Tensor = attrs.field(factory=lambda: torch.zeros(1))
    #: The steps that were really taken.
    steps: list[int] = attrs.field(factory=list)
    breaks_at: int = 99
    #: Hears of every step.
    heard: Callable[[int], None] = lambda step: None

    def identity(self) -> Mapping[str, str] | None:
        return {}

    def check(self) -> None:
        if self.done >= self.breaks_at:
            raise RunFailed("It broke down.")

    def state_dict(self) -> Mapping[str, object]:
        return {"done": self.done, "sum": self.sum}

    def final_state(self) -> Mapping[str, object]:
        return {"done": self.done, "sum": self.sum, "final": True}

    def load_state_dict(self, state: Mapping[str, object], /) -> None:
        self.done, self.sum = cast(int, state["done"]), cast(Tensor, state["sum"]).clone()

    def step(self) -> None:
        self.done += 1
        self.sum += self.done
        self.steps.append(self.done)
        self.heard(self.done)


@attrs.define
class Place:
    """A run's folder, the cache, and what was said."""

    folder: Path
    cache: Cache | None
    said: list[str] = attrs.field(factory=list)

    def store(self, *, every: float = NEVER, stop: Stop | None = None, despite_changes: bool = False) -> Store:
        """The store of a process that starts now."""
        self.progress.mkdir(parents=True, exist_ok=True)
        return Store(
            progress=self.progress,
            cache=self.cache,
            log=read_worklog(self.folder / "work.json"),
            compute=Compute(),
            every=every,
            say=self.said.append,
            stop=stop or Stop(),
            despite_changes=despite_changes,
        )

    @property
    def progress(self) -> Path:
        return self.folder / "progress"

    @property
    def file(self) -> Path:
        return self.progress / file_name(NAME)

    def outcomes(self) -> list[str]:
        return [entry.outcome for entry in read_worklog(self.folder / "work.json").entries]

    def entries(self) -> int:
        assert self.cache is not None
        return len(self.cache.entries())


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return Place(tmp_path / "here", Cache(tmp_path / "cache"))


@pytest.fixture
def there(tmp_path: Path) -> Place:
    """The folder of another run with the same cache."""
    return Place(tmp_path / "there", Cache(tmp_path / "cache"))


def do(
    store: Store,
    work: Sum | None = None,
    *,
    shareable: bool = True,
    identity: Identity = IDENTITY,
    die_after: int = 99,
) -> Sum:
    """Do the work, as the loop does, or die on the way."""
    work = work or Sum()
    with store.keep(work, identity, shareable) as finished:
        while not finished and work.done < work.total:
            if work.done == die_after:
                raise Killed
            work.step()
            store.progressed(work)
    return work


def die(store: Store, after: int, *, shareable: bool = True, identity: Identity = IDENTITY) -> None:
    with suppress(Killed):
        do(store, shareable=shareable, identity=identity, die_after=after)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


# -- finding what was done --------------------------------------------------------------------------------------------


def test_work_that_nobody_has_done_is_done_and_kept_in_the_folder_and_the_cache(here: Place) -> None:
    work = do(here.store())
    assert (work.steps, work.sum.item()) == ([1, 2, 3, 4], 10)
    assert here.outcomes() == ["computed"]
    kept = cast("dict[str, object]", read_state(here.file))
    assert (kept["done"], kept["final"]) == (4, True)
    assert here.cache is not None
    shared = cast("dict[str, object]", here.cache.read(IDENTITY))
    assert (shared["done"], shared["final"]) == (4, True)
    assert here.said == []


def test_work_that_is_finished_in_the_folder_is_not_done_again(here: Place) -> None:
    do(here.store())
    work = do(here.store())
    assert (work.steps, work.done, work.sum.item()) == ([], 4, 10)
    # Nobody asked the cache, and how the work came about is what counts.
    assert here.said == []
    assert here.outcomes() == ["computed"]
    here.cache = None
    assert do(here.store()).steps == []


def test_work_of_another_run_is_taken_from_the_cache(here: Place, there: Place) -> None:
    do(here.store())
    work = do(there.store())
    assert (work.steps, work.done, work.sum.item()) == ([], 4, 10)
    assert there.outcomes() == ["cache"]
    assert there.said == [f"{NAME}: from the cache"]


@pytest.mark.parametrize("change", [{"seed": "1"}, {"more": "x"}], ids=str)
def test_work_that_is_determined_otherwise_is_not_taken(change: dict[str, str], here: Place, there: Place) -> None:
    do(here.store())
    work = do(there.store(), identity=Identity({**IDENTITY.parts, **change}))
    assert work.steps == [1, 2, 3, 4]
    assert there.outcomes() == ["computed"]
    assert there.entries() == 2


def test_work_that_cannot_be_told_apart_is_not_shared(here: Place, there: Place) -> None:
    do(here.store(), shareable=False)
    assert here.entries() == 0
    do(here.store())
    assert do(there.store(), shareable=False).steps == [1, 2, 3, 4]
    assert do(here.store(), shareable=False).steps == []


def test_a_run_without_folder_and_cache_does_everything(tmp_path: Path) -> None:
    log, said = WorkLog(), list[str]()
    store = Store(progress=None, cache=None, log=log, compute=Compute(), every=0.0, say=said.append, stop=Stop())
    for _ in range(2):
        assert do(store).steps == [1, 2, 3, 4]
    assert [entry.outcome for entry in log.entries] == ["computed"]
    assert os.listdir(tmp_path) == []


def test_several_pieces_of_work_do_not_mix(here: Place) -> None:
    store = here.store()
    for name in ("a", "b", "a b", "a/b"):
        identity = Identity({"name": name})
        work = Sum(name=name)
        with store.keep(work, identity, True) as finished:
            assert not finished
    assert here.outcomes() == ["computed"] * 4
    assert len(os.listdir(here.progress)) == 4


# -- going on with what was begun -------------------------------------------------------------------------------------


def test_work_that_was_killed_goes_on_from_its_last_state(here: Place) -> None:
    die(here.store(every=0.0), after=2)
    assert read_about(here.file)["finished"] == "no"
    assert here.outcomes() == []
    work = do(here.store())
    assert (work.steps, work.sum.item()) == ([3, 4], 10)
    assert here.outcomes() == ["continued"]
    assert here.said == [f"{NAME}: goes on where it was stopped"]
    assert here.entries() == 1


def test_between_checkpoints_nothing_is_written(here: Place) -> None:
    die(here.store(every=NEVER), after=3)
    assert os.listdir(here.progress) == []


def test_what_is_not_worth_keeping_does_not_replace_what_is(here: Place) -> None:
    with pytest.raises(RunFailed, match="It broke down"):
        do(here.store(every=0.0), Sum(breaks_at=2))
    assert do(here.store()).steps == [2, 3, 4]


def test_work_that_others_have_finished_meanwhile_is_not_continued(here: Place, there: Place) -> None:
    die(here.store(every=0.0), after=2)
    do(there.store())
    assert do(here.store()).steps == []
    assert here.outcomes() == ["cache"]


def test_a_run_counts_the_time_before_it_was_stopped(here: Place) -> None:
    here.progress.mkdir(parents=True)
    for name, seconds in (("a", "500.0"), ("b", "1000.0"), ("c", "no number")):
        write_state(here.progress / file_name(name), 1, {"seconds": seconds})
    (here.progress / "torn.safetensors").write_text("")
    assert here.store().seconds >= 1000
    do(here.store())
    assert float(read_about(here.file)["seconds"]) >= 1000


# -- being stopped ----------------------------------------------------------------------------------------------------


def test_a_request_to_stop_keeps_the_state_and_ends_the_run(here: Place) -> None:
    stop = Stop()

    def heard(step: int) -> None:
        stop.requested = step == 2

    with pytest.raises(Interrupted, match=f"Stopped in `{NAME}`"):
        do(here.store(stop=stop), Sum(heard=heard))
    assert do(here.store()).steps == [3, 4]


def test_a_request_to_stop_ends_the_wait_for_another_process(here: Place) -> None:
    stop = Stop()

    def say(text: str) -> None:
        here.said.append(text)
        stop.requested = True

    store = here.store(stop=stop)
    store.say = say
    assert here.cache is not None
    with locked(lock_of(here), lambda: None), pytest.raises(Interrupted, match=f"Stopped while waiting for `{NAME}`"):
        do(store)
    assert here.said == [f"{NAME}: another process is at it; waiting for its result"]


# -- changes between stop and start -----------------------------------------------------------------------------------


CHANGED = Identity({"name": NAME, "seed": "1", "lr": "0.1", "more": "x"})


@pytest.mark.parametrize("after", [2, 99])
def test_work_does_not_go_on_under_changed_conditions_unnoticed(after: int, here: Place) -> None:
    die(here.store(every=0.0), after)
    before = here.file.read_bytes()
    with pytest.raises(Changed) as told:
        do(here.store(), identity=CHANGED)
    assert isinstance(told.value, RequestError)
    assert f"for `{NAME}`, these have changed: seed (was 0, is 1), more (was none, is x)" in str(told.value)
    assert here.file.read_bytes() == before
    assert do(here.store()).done == 4


def test_a_user_may_accept_changes_and_the_log_remembers_them(here: Place) -> None:
    die(here.store(every=0.0), after=2)
    work = do(here.store(despite_changes=True), identity=CHANGED)
    assert work.steps == [3, 4]
    assert read_worklog(here.folder / "work.json").mixed == ["seed", "more"]
    assert here.outcomes() == ["continued"]


def test_what_came_about_under_changing_conditions_is_never_shared(here: Place) -> None:
    """Not by the run that accepts the change, and not by one that goes on after it without another change."""
    die(here.store(every=0.0), after=1)
    with suppress(Killed):
        do(here.store(every=0.0, despite_changes=True), identity=CHANGED, die_after=2)
    assert do(here.store(), identity=CHANGED).steps == [3, 4]
    assert here.entries() == 0


def test_a_run_that_accepts_changes_shares_nothing_even_if_there_are_none(here: Place) -> None:
    do(here.store(despite_changes=True))
    assert here.entries() == 0
    assert read_worklog(here.folder / "work.json").mixed == []


# -- damage and trouble -----------------------------------------------------------------------------------------------


def test_a_damaged_state_is_named_and_the_work_starts_anew(here: Place) -> None:
    die(here.store(every=0.0), after=2)
    damage(here.file)
    assert do(here.store()).steps == [1, 2, 3, 4]
    assert here.outcomes() == ["computed"]
    (said,) = here.said
    assert said.startswith(f"`{here.file}` is damaged")
    assert said.endswith(f"It is dropped; `{NAME}` starts anew.")


def test_damage_is_not_mistaken_for_a_change(here: Place) -> None:
    die(here.store(every=0.0), after=2)
    content = here.file.read_bytes()
    here.file.write_bytes(content.replace(rb"\"seed\": \"0\"", rb"\"seed\": \"1\""))
    assert here.file.read_bytes() != content
    assert do(here.store()).steps == [1, 2, 3, 4]
    assert "is damaged" in here.said[0]


def test_a_damaged_entry_is_named_and_replaced(here: Place, there: Place) -> None:
    do(here.store())
    assert here.cache is not None
    (entry,) = here.cache.entries()
    damage(entry.path)
    assert do(there.store()).steps == [1, 2, 3, 4]
    (said,) = there.said
    assert said.startswith(f"`{entry.path}` is damaged")
    assert said.endswith(f"It is not used; `{NAME}` is computed anew.")
    assert there.outcomes() == ["computed"]
    assert cast("dict[str, object]", here.cache.read(IDENTITY))["done"] == 4


def test_a_cache_that_cannot_be_written_costs_the_run_nothing_and_is_said_once(here: Place, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    store = here.store()
    assert do(store).steps == [1, 2, 3, 4]
    other = Sum(name="student/train")
    with store.keep(other, Identity({"name": other.name}), True) as finished:
        assert not finished
    assert here.outcomes() == ["computed", "computed"]
    (said,) = here.said
    assert said.startswith("The cache could not be used: ")
    assert said.endswith(" The run goes on without it.")
    assert do(here.store()).steps == []


def test_a_cache_that_takes_no_locks_can_still_be_read(here: Place, there: Place, tmp_path: Path) -> None:
    """Such as one that somebody else keeps for all."""
    do(here.store())
    for lock in (tmp_path / "cache" / "locks").iterdir():
        lock.unlink()
    (tmp_path / "cache" / "locks").rmdir()
    (tmp_path / "cache" / "locks").write_text("")
    assert do(there.store()).steps == []
    assert there.said == [f"{NAME}: from the cache"]


def test_a_folder_that_cannot_be_written_ends_the_run_with_its_name(here: Place) -> None:
    store = here.store(every=0.0)
    here.progress.rmdir()
    with pytest.raises(RunFailed, match=f"Cannot write `{here.file}`: No such file or directory"):
        do(store)
    assert here.outcomes() == []
    assert here.entries() == 0


# -- other processes --------------------------------------------------------------------------------------------------


def lock_of(place: Place) -> Path:
    assert place.cache is not None
    return place.cache.root / "locks" / f"{IDENTITY.key}.lock"


def test_the_lock_is_held_while_the_work_is_done_and_free_afterwards(here: Place) -> None:
    with here.store().keep(Sum(), IDENTITY, True):
        assert is_locked(lock_of(here))
    assert not is_locked(lock_of(here))


@pytest.mark.parametrize("error", [Killed, KeyboardInterrupt, RunFailed])
def test_the_lock_is_free_after_a_failure(error: type[BaseException], here: Place) -> None:
    with suppress(error), here.store().keep(Sum(), IDENTITY, True):
        raise error
    assert not is_locked(lock_of(here))
    assert here.outcomes() == []
    assert here.entries() == 0


def test_work_that_is_not_shared_needs_no_lock(here: Place) -> None:
    with here.store().keep(Sum(), IDENTITY, False):
        assert not lock_of(here).exists()


#: Whoever does the work goes on only when the other one waits for it.
RACE = """
import sys, time
from pathlib import Path
import attrs, torch
from rcframe.session.stopping import Stop
from rcframe.session.store import Store
from rcframe.session.worklog import WorkLog
from rcframe.storage.cache import default_cache
from rcframe.storage.identity import Identity
from rcframe.training.compute import Compute

here = Path(sys.argv[1])
waits = here / "somebody waits"

@attrs.define
class Work:
    name: str = "train"
    result: torch.Tensor = attrs.field(factory=lambda: torch.zeros(1))
    def final_state(self): return {"result": self.result}
    def load_state_dict(self, state): self.result = state["result"]

def say(text):
    print(text, flush=True)
    if "waiting" in text:
        waits.touch()

log = WorkLog(here / sys.argv[2] / "work.json")
log.path.parent.mkdir()
store = Store(
    progress=None, cache=default_cache(), log=log, compute=Compute(), every=0.0, say=say, stop=Stop()
)
work = Work()
with store.keep(work, Identity({"name": "train"}), True) as finished:
    if not finished:
        end = time.monotonic() + 60
        while not waits.exists() and time.monotonic() < end:
            time.sleep(0.02)
        work.result += 42
print(work.result.item())
"""


def test_two_processes_that_want_the_same_do_it_once_and_the_other_waits_and_says_so(tmp_path: Path) -> None:
    environment = os.environ | {"RCFRAME_CACHE": str(tmp_path / "cache")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), name], stdout=subprocess.PIPE, text=True, env=environment
        )
        for name in ("one", "two")
    ]
    told = sorted(process.communicate()[0].splitlines() for process in processes)
    assert told == [
        ["42.0"],
        ["train: another process is at it; waiting for its result", "train: from the cache", "42.0"],
    ]
    assert sorted(outcomes(tmp_path / "one") + outcomes(tmp_path / "two")) == [
        ("train", "cache"),
        ("train", "computed"),
    ]


def outcomes(folder: Path) -> list[tuple[str, str]]:
    return [(entry.identity.name, entry.outcome) for entry in read_worklog(folder / "work.json").entries]


@pytest.mark.slow
def test_two_runs_that_start_at_once_compute_each_piece_of_work_once_in_total(tmp_path: Path) -> None:
    settings = "--model convnet:channels=4+4,hidden=8 --teacher plain:epochs=3 --student kd:epochs=3 --attack fgsm"
    command = [sys.executable, "-m", "rcframe", "run", "-q", *settings.split(), "--eval-size", "64"]
    environment = os.environ | {"RCFRAME_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([*command, "--out", str(tmp_path / name)], env=environment) for name in ("one", "two")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    one, two = outcomes(tmp_path / "one"), outcomes(tmp_path / "two")
    names = [name for name, _ in one]
    assert names == [name for name, _ in two]
    assert len(names) == 8
    assert Counter(name for name, outcome in one + two if outcome == "computed") == Counter(names)


# -- names of files ---------------------------------------------------------------------------------------------------


@given(st.text())
@example("x" * 300)
@example("../../etc/passwd")
@example("")
def test_a_file_of_any_name_stays_in_its_folder(name: str) -> None:
    made = file_name(name)
    assert Path("progress", made).resolve().parent == Path("progress").resolve()
    assert not made.startswith(".")
    assert made.isascii()
    assert len(made) <= 100


@given(st.lists(st.text(max_size=3), unique_by=str))
def test_different_work_has_different_files(names: list[str]) -> None:
    # Some systems do not tell capital letters from small ones.
    assert len({file_name(name).lower() for name in names}) == len(names)
