"""A kernel cache of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.compiler.caching.store import VARIABLE, Store

MODELS = Path(__file__).parents[2] / "data" / "models"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty cache, which compilations of this test use."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(VARIABLE, str(folder))
    return Store(folder)
