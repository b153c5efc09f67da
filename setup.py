"""The part of the build that pyproject.toml cannot say: which packages there are, and the native runtime library.

In: the folders penstock/, compiler/, runtime/ and tools/. Out: the packages `penstock`, `penstock.compiler`,
`penstock.runtime` and `penstock.tools` (a top-level import name such as `tools` would clash in site-packages), with
libpenstock.so, libpenstock.a and penstock.h beside the runtime's Python code, in wheels and editable installs alike.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

ROOT = Path(__file__).resolve().parent
PACKAGE_ROOTS = {
    "penstock": "penstock",
    "penstock.compiler": "compiler",
    "penstock.runtime": "runtime",
    "penstock.tools": "tools",
}
DATA_PATTERNS = ["*.c", "*.h", "*.css", "*.html", "*.js", "*.json", "*.j2", "*.md", "*.mlir", "*.toml", "py.typed"]
NATIVE_LIBRARY_FOLDER = Path("runtime", "native", "lib")  # read by penstock.runtime


def find_packages() -> list[str]:
    """Dotted name of every folder below the package roots that holds Python code or package data."""
    packages: list[str] = []
    for package, root in PACKAGE_ROOTS.items():
        for folder, subfolders, _ in os.walk(ROOT / root):
            subfolders[:] = sorted(name for name in subfolders if name.isidentifier() and name != "__pycache__")
            path = Path(folder)
            if any(next(path.glob(pattern), None) for pattern in ("*.py", *DATA_PATTERNS)):
                packages.append(".".join((package, *path.relative_to(ROOT / root).parts)))
    return packages


class build_native(Command):
    """Build the native runtime with runtime/native/build.py: in place for an editable install, else into the wheel."""

    description = "build libpenstock.so and libpenstock.a"
    user_options: list[tuple[str, str | None, str]] = []  # noqa: RUF012 (setuptools' own type)

    def initialize_options(self) -> None:
        self.build_lib: str | None = None
        self.editable_mode = False

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def _output_dir(self) -> Path:
        assert self.build_lib is not None
        return (
            ROOT / NATIVE_LIBRARY_FOLDER
            if self.editable_mode
            else Path(self.build_lib, "penstock", NATIVE_LIBRARY_FOLDER)
        )

    def run(self) -> None:
        spec = importlib.util.spec_from_file_location("native_build", ROOT / "runtime" / "native" / "build.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        try:
            paths = module.build(self._output_dir())
        except module.BuildError as error:
            raise SystemExit(f"the native runtime did not compile: {error}") from None
        for path in paths:
            self.announce(f"built {path}", level=2)

    def get_source_files(self) -> list[str]:
        """Paths of the C sources, relative to the repository root (part of setuptools' SubCommand protocol)."""
        folder = ROOT / "runtime" / "native"
        paths = [p for pattern in ("*.c", "*.h", "*.py") for p in folder.glob(pattern)]
        return [str(path.relative_to(ROOT)) for path in sorted(paths)]

    def get_outputs(self) -> list[str]:
        """Paths of the built files in the build folder (part of setuptools' SubCommand protocol)."""
        return [str(path) for path in sorted(self._output_dir().glob("*"))]

    def get_output_mapping(self) -> dict[str, str]:
        """No built file stands for a source file one to one."""
        return {}


class build_with_native(build):
    """setuptools' build, with build_native as one of its steps."""

    sub_commands = [*build.sub_commands, ("build_native", None)]  # noqa: RUF012


class NativeDistribution(Distribution):
    """A distribution that holds machine code, though no extension module of Python's."""

    def has_ext_modules(self) -> bool:
        return True


class bdist_wheel_native(bdist_wheel):
    """A wheel for this platform and any Python 3: the library is loaded with ctypes and knows no Python ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    distclass=NativeDistribution,
    packages=find_packages(),
    package_dir=PACKAGE_ROOTS,
    package_data={"": DATA_PATTERNS},
    cmdclass={"build": build_with_native, "build_native": build_native, "bdist_wheel": bdist_wheel_native},
)
