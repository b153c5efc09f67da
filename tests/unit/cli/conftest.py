"""Running ``penstock`` in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "data" / "models"


@dataclass(frozen=True)
class Ran:
    """What a command did: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


@pytest.fixture
def penstock(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command in an empty folder; arguments are joined as strings."""
    from penstock.tools.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ran:
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def mlp() -> Path:
    """The smallest of the tiny models, with one input ``x`` and one output ``logits``."""
    return MODELS / "mlp_b1.onnx"


@pytest.fixture(scope="session")
def artifact(mlp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model, compiled."""
    import penstock

    path = tmp_path_factory.mktemp("artifact") / "mlp.pens"
    penstock.compile(mlp).save(path)
    return path
