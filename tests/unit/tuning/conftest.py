"""A cache of these tests' own: kernels that one has compiled serve the others, but nothing is measured yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.compiler.caching.store import VARIABLE, Store
from penstock.compiler.tuning.record import Tunings


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder."""
    return tmp_path_factory.mktemp("tuning") / "cache"


@pytest.fixture
def store(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A cache that compilations of this test use, without any measured choice."""
    monkeypatch.setenv(VARIABLE, str(kernels))
    store = Store(kernels)
    Tunings(store).clear()
    return store
