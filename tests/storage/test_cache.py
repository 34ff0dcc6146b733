from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import platformdirs
import pytest
import torch

from rcframe.errors import RunFailed
from rcframe.storage.cache import Cache, default_cache, nearest_among
from rcframe.storage.identity import Difference, Identity
from rcframe.storage.locks import is_locked
from rcframe.storage.state_file import DamagedState

DAY = 86400.0
TRAIN = Identity({"name": "train", "seed": "0", "lr": "0.1"})


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def work(name: str) -> Identity:
    return Identity({"name": name})


def file_of(cache: Cache, identity: Identity) -> Path:
    (path,) = cache.root.glob(f"work/*/{identity.key}.safetensors")
    return path


def keep(cache: Cache, name: str, days_ago: float = 0.0, numbers: int = 1) -> int:
    """Put work of so many numbers into the cache that was used some days ago; return its size in bytes."""
    cache.write(work(name), torch.zeros(numbers))
    path = file_of(cache, work(name))
    used = time.time() - days_ago * DAY
    os.utime(path, (used, used))
    return path.stat().st_size


def names(cache: Cache) -> list[str]:
    return [entry.identity.name for entry in cache.entries()]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def future(cache: Cache, name: str) -> Path:
    """An entry in a format that does not exist yet."""
    keep(cache, name)
    path = file_of(cache, work(name))
    path.write_bytes(path.read_bytes().replace(rb"\"format\": 1", rb"\"format\": 2"))
    return path


# -- reading and writing ----------------------------------------------------------------------------------------------


def test_what_was_written_is_read_and_nothing_else_is(cache: Cache) -> None:
    assert cache.read(TRAIN) is None
    cache.write(TRAIN, {"weights": torch.arange(3.0), "epoch": 2})
    found = cache.read(TRAIN)
    assert isinstance(found, dict)
    assert (found["weights"].tolist(), found["epoch"]) == ([0.0, 1.0, 2.0], 2)
    assert cache.read(Identity({**TRAIN.parts, "seed": "1"})) is None


def test_the_order_of_parts_does_not_matter(cache: Cache) -> None:
    cache.write(TRAIN, 1)
    assert cache.read(Identity({"lr": "0.1", "seed": "0", "name": "train"})) == 1


def test_work_that_is_written_again_is_replaced(cache: Cache) -> None:
    cache.write(TRAIN, 1)
    cache.write(TRAIN, 2)
    assert cache.read(TRAIN) == 2
    assert len(cache.entries()) == 1


def test_a_damaged_entry_is_named_and_dropped(cache: Cache) -> None:
    cache.write(TRAIN, torch.zeros(3))
    path = file_of(cache, TRAIN)
    damage(path)
    with pytest.raises(DamagedState, match=f"`{path}` is damaged"):
        cache.read(TRAIN)
    assert not path.exists()
    assert cache.read(TRAIN) is None


def test_an_entry_under_a_name_that_is_not_its_own_is_refused_and_dropped(cache: Cache) -> None:
    cache.write(TRAIN, 1)
    other = Identity({**TRAIN.parts, "seed": "1"})
    cache.write(other, 2)
    path = file_of(cache, other)
    shutil.copyfile(file_of(cache, TRAIN), path)
    with pytest.raises(DamagedState, match="it holds other work than its name says"):
        cache.read(other)
    assert not path.exists()
    assert cache.read(TRAIN) == 1


def test_an_entry_of_the_future_is_refused_but_left_to_who_can_read_it(cache: Cache) -> None:
    path = future(cache, "new")
    with pytest.raises(RunFailed, match="was written by a newer rcframe"):
        cache.read(work("new"))
    assert path.exists()


def test_an_entry_that_the_system_would_not_read_is_left_alone(cache: Cache) -> None:
    cache.write(TRAIN, 1)
    path = file_of(cache, TRAIN)
    path.unlink()
    path.mkdir()
    with pytest.raises(RunFailed, match="Cannot read"):
        cache.read(TRAIN)
    assert path.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file")
    assert cache.read(TRAIN) is None
    assert cache.entries() == []
    with pytest.raises(OSError, match="file"):
        cache.write(TRAIN, 1)


def test_each_piece_of_work_has_a_lock_of_its_own(cache: Cache) -> None:
    def never() -> None:
        raise AssertionError("nobody else has it")

    with cache.locked(TRAIN, never, never), cache.locked(work("other"), never, never):
        assert is_locked(cache.root / "locks" / f"{TRAIN.key}.lock")
    assert not is_locked(cache.root / "locks" / f"{TRAIN.key}.lock")


# -- listing ----------------------------------------------------------------------------------------------------------


def test_entries_are_listed_from_the_last_used_to_the_longest_unused(cache: Cache) -> None:
    keep(cache, "old", days_ago=3)
    large = keep(cache, "new", days_ago=1, numbers=1000)
    keep(cache, "middle", days_ago=2)
    entries = cache.entries()
    assert [entry.identity.name for entry in entries] == ["new", "middle", "old"]
    assert (entries[0].path, entries[0].bytes) == (file_of(cache, work("new")), large)
    assert large > 4000
    assert entries[0].used == pytest.approx(time.time() - DAY, abs=60)


def test_reading_counts_as_using(cache: Cache) -> None:
    keep(cache, "old", days_ago=3)
    keep(cache, "new", days_ago=1)
    cache.read(work("old"))
    assert names(cache) == ["old", "new"]


def test_what_cannot_be_read_does_not_hide_the_rest(cache: Cache) -> None:
    for name in ("good", "cut"):
        keep(cache, name)
    cut = file_of(cache, work("cut"))
    cut.write_bytes(cut.read_bytes()[:20])
    (cut.parent / ".half.tmp").write_text("")
    (cut.parent / "notes.txt").write_text("")
    assert names(cache) == ["good"]
    # What a newer rcframe wrote takes room too.
    future(cache, "new")
    assert sorted(names(cache)) == ["", "good"]


# -- the nearest ------------------------------------------------------------------------------------------------------


def test_the_nearest_is_the_one_with_the_fewest_differences(cache: Cache) -> None:
    wanted = Identity({"name": "train", "seed": "0", "lr": "0.1"})
    for seed, rate in (("1", "0.2"), ("0", "0.3"), ("2", "0.4")):
        cache.write(Identity({"name": "train", "seed": seed, "lr": rate}), 1)
    cache.write(Identity({"name": "prune", "seed": "0", "lr": "0.1"}), 1)
    assert cache.nearest(wanted) == (Difference("lr", here="0.1", there="0.3"),)


def test_work_is_not_the_nearest_to_itself(cache: Cache) -> None:
    cache.write(TRAIN, 1)
    assert cache.nearest(TRAIN) is None
    cache.write(Identity({"name": "train"}), 1)
    assert cache.nearest(TRAIN) == (Difference("seed", "0", ""), Difference("lr", "0.1", ""))


def test_nothing_of_the_name_means_nothing_near(cache: Cache) -> None:
    assert cache.nearest(TRAIN) is None
    cache.write(work("other"), 1)
    assert cache.nearest(TRAIN) is None
    assert nearest_among([], TRAIN) is None


# -- making room ------------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_long_is_removed(cache: Cache) -> None:
    for name, days in (("old", 3.0), ("new", 0.0), ("middle", 2.0)):
        keep(cache, name, days)
    removed = cache.prune(None, 1.5)
    assert [entry.identity.name for entry in removed] == ["middle", "old"]
    assert names(cache) == ["new"]
    assert cache.prune(None, 1.5) == []


def test_the_longest_unused_is_removed_until_the_rest_fits(cache: Cache) -> None:
    sizes = [keep(cache, name, days) for name, days in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    assert cache.prune(sum(sizes), None) == []
    removed = cache.prune(sum(sizes) - 1, None)
    assert [entry.identity.name for entry in removed] == ["c"]
    cache.prune(sizes[0], None)
    assert names(cache) == ["a"]
    cache.prune(0, None)
    assert names(cache) == []


def test_age_and_size_are_limits_at_once(cache: Cache) -> None:
    size = keep(cache, "a", 1.0)
    for name, days in (("b", 2.0), ("c", 3.0)):
        keep(cache, name, days)
    cache.prune(size, 2.5)
    assert names(cache) == ["a"]


def test_no_limit_removes_nothing(cache: Cache) -> None:
    keep(cache, "a", 1000.0)
    assert cache.prune(None, None) == []
    assert names(cache) == ["a"]


def test_half_written_files_of_killed_processes_are_swept_and_those_at_work_are_not(cache: Cache) -> None:
    keep(cache, "a")
    folder = file_of(cache, work("a")).parent
    old, new = folder / ".a.1.tmp", folder / ".a.2.tmp"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (time.time() - 2 * 3600,) * 2)
    cache.prune(None, None)
    assert (old.exists(), new.exists()) == (False, True)


def test_damaged_entries_are_swept_and_those_of_the_future_count_like_others(cache: Cache) -> None:
    keep(cache, "cut")
    cut = file_of(cache, work("cut"))
    cut.write_bytes(b"")
    newer = future(cache, "new")
    assert cache.prune(None, None) == []
    assert (cut.exists(), newer.exists()) == (False, True)
    assert len(cache.prune(0, None)) == 1
    assert not newer.exists()


def test_an_empty_or_absent_cache_has_nothing_to_remove(tmp_path: Path) -> None:
    assert Cache(tmp_path / "absent").prune(0, 0.0) == []
    assert not (tmp_path / "absent").exists()


# -- many at once -----------------------------------------------------------------------------------------------------


def together(*parts: Callable[[], object]) -> None:
    """Run functions at the same time, and fail if one does."""
    failed: list[BaseException] = []
    start = threading.Barrier(len(parts))

    def run(part: Callable[[], object]) -> None:
        start.wait()
        try:
            part()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=[part]) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


def test_many_may_create_the_cache_at_once(tmp_path: Path) -> None:
    for attempt in range(10):
        cache = Cache(tmp_path / str(attempt) / "cache")

        def write(number: int, cache: Cache = cache) -> None:
            with cache.locked(work(str(number)), lambda: None, lambda: None):
                cache.write(work(str(number)), number)

        together(*(partial(write, number) for number in range(4)))
        assert [cache.read(work(str(number))) for number in range(4)] == [0, 1, 2, 3]


def test_entries_may_vanish_while_others_read_and_list_them(cache: Cache) -> None:
    """An entry is read whole or not at all; nobody stumbles over its absence."""
    over = threading.Event()

    def prune() -> None:
        while not over.is_set():
            cache.prune(0, None)

    def use() -> None:
        try:
            for number in range(300):
                cache.write(TRAIN, number)
                assert cache.read(TRAIN) in (None, number)
                cache.entries()
                cache.nearest(work("train"))
        finally:
            over.set()

    together(prune, prune, use)


# -- where it is ------------------------------------------------------------------------------------------------------


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RCFRAME_CACHE", str(tmp_path / "mine"))
    assert default_cache() == Cache(tmp_path / "mine")
    monkeypatch.setenv("RCFRAME_CACHE", "~/mine")
    assert default_cache() == Cache(Path.home() / "mine")


def test_else_it_is_where_the_platform_keeps_such_things(monkeypatch: pytest.MonkeyPatch) -> None:
    for chosen in (None, ""):
        monkeypatch.delenv("RCFRAME_CACHE", raising=False)
        if chosen is not None:
            monkeypatch.setenv("RCFRAME_CACHE", chosen)
        assert default_cache() == Cache(platformdirs.user_cache_path("rcframe"))
