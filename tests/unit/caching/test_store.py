"""The cache's folder: entries come back as they were, and what could have been tampered with does not."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.compiler.caching.store import (
    SUFFIX,
    VARIABLE,
    Entry,
    Store,
    Unusable,
    default_folder,
    key_of,
)


def entry(number: int, size: int = 100) -> Entry:
    return Entry({"compiler": "c", "body": f"number {number}"}, {"units": number}, bytes([number % 256]) * size)


def file_of(store: Store, item: Entry) -> Path:
    return store.folder / f"{key_of(item.ingredients)}{SUFFIX}"


def test_an_entry_comes_back_as_it_was(store: Store) -> None:
    store.put(entry(1))
    store.put(entry(2, 0))
    assert store.get(entry(1).ingredients) == entry(1)
    assert store.get(entry(2).ingredients) == entry(2, 0)
    assert store.get(entry(3).ingredients) is None
    assert store.get({**entry(1).ingredients, "more": ""}) is None
    assert sorted(os.listdir(store.folder)) == sorted(file_of(store, entry(n)).name for n in (1, 2))


def test_the_key_tells_names_and_values_apart() -> None:
    assert key_of({"a": "b", "c": ""}) != key_of({"a": "", "bc": ""})
    assert key_of({"a": "b"}) == key_of({"a": "b"})


def test_a_file_damaged_anywhere_is_not_believed(store: Store) -> None:
    store.put(entry(1, 10))
    path = file_of(store, entry(1))
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert store.get(entry(1).ingredients) is None
        path.write_bytes(good[:at])
        assert store.get(entry(1).ingredients) is None
    assert list(store.entries()) == []
    store.put(entry(1, 10))
    assert path.read_bytes() == good


def test_an_entry_under_the_key_of_another_is_not_believed(store: Store) -> None:
    store.put(entry(1))
    os.rename(file_of(store, entry(1)), file_of(store, entry(2)))
    assert store.get(entry(2).ingredients) is None


def test_a_folder_or_file_that_others_can_write_to_is_not_believed(store: Store) -> None:
    store.put(entry(1))
    path = file_of(store, entry(1))
    for mode in (0o620, 0o602):
        path.chmod(mode)
        assert store.get(entry(1).ingredients) is None
    path.chmod(0o600)
    assert store.get(entry(1).ingredients) == entry(1)
    for mode in (0o770, 0o1777):
        store.folder.chmod(mode)
        with pytest.raises(Unusable, match="can be written to by other users"):
            Store(store.folder)
    store.folder.chmod(0o700)


def test_what_belongs_to_another_user_is_not_believed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(entry(1))
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    assert store.get(entry(1).ingredients) is None
    with pytest.raises(Unusable, match="belongs to another user"):
        Store(store.folder)


def test_links_and_pipes_are_not_followed(store: Store, tmp_path: Path) -> None:
    store.put(entry(1))
    path = file_of(store, entry(1))
    os.rename(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.get(entry(1).ingredients) is None
    path.unlink()
    os.mkfifo(path)
    assert store.get(entry(1).ingredients) is None


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Unusable, match="cannot be made"):
            Store(path)


def test_what_was_not_used_for_longest_goes_first(store: Store) -> None:
    for number in range(10):
        store.put(entry(number, 1000))
        os.utime(file_of(store, entry(number)), (number, number))
    store.get(entry(0).ingredients)
    bytes_each = store.stats().bytes // 10
    store.limit = bytes_each * 5 + 100
    assert store.trim() == 6
    left = [number for number in range(10) if file_of(store, entry(number)).exists()]
    assert left == [0, 7, 8, 9]
    assert store.trim() == 0
    assert [item.facts["units"] for item in store.entries()] == [0, 9, 8, 7]


def test_what_interrupted_processes_left_is_removed(store: Store) -> None:
    for name, age in ((".tmp-old", 7200), (".tmp-new", 1)):
        (store.folder / name).write_text("")
        os.utime(store.folder / name, (time.time() - age,) * 2)
    store.trim()
    assert os.listdir(store.folder) == [".tmp-new"]


def test_many_may_write_and_read_at_once(store: Store) -> None:
    def work(number: int) -> bool:
        own = Store(store.folder)
        own.put(entry(number % 4, 50_000))
        found = own.get(entry(number % 4).ingredients)
        return found == entry(number % 4, 50_000)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))
    assert len(os.listdir(store.folder)) == 4


def test_clearing_leaves_what_is_not_ours(store: Store) -> None:
    store.put(entry(1))
    (store.folder / "notes.txt").write_text("mine")
    assert store.clear() == 1
    assert os.listdir(store.folder) == ["notes.txt"]
    assert store.stats().entries == 0


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv(VARIABLE, "")
    assert default_folder() == tmp_path / "xdg" / "penstock"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == tmp_path / ".cache" / "penstock"
    monkeypatch.setenv(VARIABLE, "off")
    assert default_folder() is None
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
