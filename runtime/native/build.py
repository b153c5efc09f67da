"""Build libpenstock.so and libpenstock.a from the C files beside this one.

In: a folder to write to. Out: the two libraries and penstock.h there. The one idea: any C11 compiler on PATH will do;
where there is none, the ``ziglang`` package brings one. Run as ``python runtime/native/build.py [folder]``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = ["-std=c11", "-O2", "-fPIC", "-fvisibility=default", "-Wall", "-Wextra", "-Werror", "-pthread"]
ZIG_TARGETS = {"x86_64": "x86_64-linux-gnu.2.17", "aarch64": "aarch64-linux-gnu.2.17"}


class BuildError(Exception):
    """The library could not be built; the message is one sentence."""


def find_compiler() -> tuple[list[str], list[str]]:
    """Command prefixes of a C compiler and of its archiver. Raises BuildError when there is none."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name.split()[0]) and shutil.which("ar"):
            return name.split(), ["ar"]
    if importlib.util.find_spec("ziglang") is not None:
        zig = [sys.executable, "-m", "ziglang"]
        target = ZIG_TARGETS.get(os.uname().machine)
        return [*zig, "cc", *(["-target", target] if target else [])], [*zig, "ar"]
    raise BuildError("there is no C compiler (cc, gcc, clang) and the ziglang package is not installed")


def build(output_dir: Path) -> list[Path]:
    """Compile the runtime into ``output_dir``; returns libpenstock.so, libpenstock.a and penstock.h there.

    Files are written elsewhere first and renamed. Raises BuildError with a sentence.
    """
    compiler, archiver = find_compiler()
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir) as temporary:
        folder = Path(temporary)
        objects: list[str] = []
        for source in sorted(HERE.glob("*.c")):
            objects.append(str(folder / f"{source.stem}.o"))
            _run([*compiler, *FLAGS, "-c", str(source), "-o", objects[-1]])
        shared, static = folder / "libpenstock.so", folder / "libpenstock.a"
        _run([*compiler, "-shared", "-pthread", "-o", str(shared), *objects])
        _run([*archiver, "rcsD", str(static), *objects])
        shutil.copy(HERE / "penstock.h", folder / "penstock.h")
        results = [output_dir / name for name in ("libpenstock.so", "libpenstock.a", "penstock.h")]
        for result in results:
            os.replace(folder / result.name, result)
    return results


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-2000:]}")


if __name__ == "__main__":
    for path in build(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "lib"):
        print(path)
