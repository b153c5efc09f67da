"""The thread pool and sessions at work on many threads, watched by ThreadSanitizer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from unit.runtime import test_sizes
from unit.runtime.test_runtime import ADD, compiled, contents

import penstock
from penstock.compiler.artifact import writer
from penstock.compiler.artifact.elf import link
from penstock.runtime.native.build import BuildError, find_compiler

ROOT = Path(__file__).parents[3]
NATIVE = ROOT / "runtime" / "native"
NAMES = ("mlp_b1", "lstm", "dlrm_b64")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """threads.c with the runtime's sources, under the sanitizer."""
    try:
        compiler, _ = find_compiler()
    except BuildError as error:
        pytest.skip(str(error))
    path = tmp_path / "threads"
    sources = [str(Path(__file__).with_name("threads.c")), *map(str, sorted(NATIVE.glob("*.c")))]
    flags = ["-std=gnu11", "-g", "-O1", "-fsanitize=thread", f"-I{NATIVE}", "-pthread", "-o", str(path)]
    done = subprocess.run([*compiler, *flags, *sources], capture_output=True, text=True, check=False)
    if done.returncode != 0 or subprocess.run([path], capture_output=True, check=False).returncode != 2:
        pytest.skip(f"{compiler[0]} has no thread sanitizer that works here: {done.stderr.strip()[-300:]}")
    return path


def test_many_threads_run_mixed_models_without_a_race(program: Path, tmp_path: Path) -> None:
    """Eight threads, a thousand runs each; one of the models is cut into parallel ranges in every run,
    and one gets other sizes before every run."""
    artifacts = [tmp_path / f"{name}.pens" for name in NAMES]
    for path in artifacts:
        penstock.compile(ROOT / "tests" / "data" / "models" / f"{path.stem}.onnx").save(path)
    parallel = tmp_path / "parallel.pens"
    writer.write(contents(link([compiled(ADD)])), parallel)
    symbolic = tmp_path / "symbolic.pens"
    writer.write(test_sizes.contents(link([compiled(test_sizes.ADD)])), symbolic)
    every = [*artifacts, parallel, symbolic]
    done = subprocess.run([program, "8", "1000", *every], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "8 threads, 1000 runs each" in done.stdout
