"""The development script: what it says when something is wrong, and that it needs the standard library alone."""

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, with its environment in a scratch folder."""
    loader = importlib.machinery.SourceFileLoader("penstock_dev", str(REPOSITORY / "dev"))
    spec = importlib.util.spec_from_loader("penstock_dev", loader)
    assert spec is not None
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    for name, path in {"VENV": "", "STAMP": "stamp.json", "INSTALL_LOG": "install.log"}.items():
        monkeypatch.setattr(module, name, tmp_path / "venv" / path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "venv").mkdir()
    return module


def run_dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(REPOSITORY / "dev"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_lists_every_command_without_any_package_installed():
    result = run_dev("help")
    assert (result.returncode, result.stderr) == (0, "")
    assert [name for name in ("demo", "test", "lint", "docs", "shell", "run", "clean") if f"  {name} " in result.stdout]


def test_an_unknown_command_is_one_sentence():
    result = run_dev("tset")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "dev: there is no command 'tset': ./dev help lists them\n"


def test_another_system_is_refused(dev: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(dev.DevError, match="penstock runs on Linux; this is win32"):
        dev.check_machine()


def test_an_old_python_is_refused_if_there_is_no_newer_one(dev: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dev, "MINIMUM_PYTHON", (4, 0))
    monkeypatch.setattr(dev.shutil, "which", lambda _: None)
    with pytest.raises(dev.DevError, match=r"Python 3\.11 or newer is needed"):
        dev.check_machine()


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("WARNING: Retrying ... NewConnectionError(...)\nERROR: No matching distribution found for x", "network"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: Package 'penstock' requires a different Python: 3.9", "Python 3.11, 3.12"),
        (
            "x: the native runtime did not compile: `cc` failed\nERROR: y",
            "the native runtime did not compile: `cc` failed",
        ),
        ("noise\nERROR: something else broke\nmore noise", "pip failed: ERROR: something else broke"),
    ],
)
def test_what_goes_wrong_in_pip_is_one_sentence(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, sentence: str
):
    failing_pip = tmp_path / "pip"
    failing_pip.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\nexit 1\n")
    failing_pip.chmod(0o755)
    monkeypatch.setattr(dev, "python", lambda: failing_pip)
    with pytest.raises(dev.DevError) as caught:
        dev.pip("install", "x")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_interrupted_set_up_is_not_taken_for_a_finished_one(dev: ModuleType):
    assert dev.read_stamp() == {}
    dev.STAMP.write_text('{"digest": ')
    assert dev.read_stamp() == {}
