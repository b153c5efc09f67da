"""The C example: built with the header and the static library alone, run, and what it links to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from unit.runtime.test_runtime import compiled
from unit.runtime.test_sizes import ADD, contents

import penstock
from penstock.compiler.artifact import writer
from penstock.compiler.artifact.elf import link
from penstock.runtime.library import FOLDER
from penstock.runtime.native.build import find_compiler

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled with only penstock.h and libpenstock.a beside it."""
    folder = tmp_path_factory.mktemp("c")
    for name in ("penstock.h", "libpenstock.a"):
        shutil.copy(FOLDER / name, folder)
    shutil.copy(ROOT / "examples" / "c" / "run_model.c", folder)
    compiler, _ = find_compiler()
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I", str(folder)]
    command = [*compiler, *flags, "run_model.c", "libpenstock.a", "-pthread", "-o", "run_model"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "run_model"


def test_it_runs_a_network_with_both_executors(program: Path, tmp_path: Path) -> None:
    """Tiny ResNet-50: the session's threads and the host's give the same bits."""
    model = tmp_path / "model.pens"
    penstock.compile(ROOT / "tests" / "data" / "models" / "resnet50.onnx").save(model)
    done = subprocess.run([program, model], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "same bits: yes" in done.stdout
    assert "two threads of the host" in done.stdout


def test_it_takes_sizes(program: Path, tmp_path: Path) -> None:
    """A model whose sizes are chosen at run time: told on the command line, asked for where they are missing."""
    (tmp_path / "model.pens").write_bytes(writer.to_bytes(contents(link([compiled(ADD)]))))
    given = [program, tmp_path / "model.pens", "seq=100", "batch=3"]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "same bits: yes" in done.stdout
    for arguments, words in (([*given[:2], "batch=3"], "seq=NUMBER"), ([*given[:3], "batch=65"], "1 to 64, not 65")):
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert words in done.stderr


def test_bad_files_give_a_sentence(program: Path, tmp_path: Path) -> None:
    """Exit status 2 and one line."""
    (tmp_path / "no.pens").write_bytes(b"nothing")
    done = subprocess.run([program, tmp_path / "no.pens"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_it_needs_libc_alone(program: Path) -> None:
    """What the dynamic linker would load."""
    if shutil.which("ldd") is None:
        pytest.skip("no ldd on this machine")
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    libraries = [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    allowed = ("linux-vdso", "libc.so", "libpthread.so", "libdl.so", "/lib", "ld-linux")
    assert all(name.startswith(allowed) for name in libraries), libraries
