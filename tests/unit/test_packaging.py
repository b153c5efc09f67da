"""What an installation holds: every module, the native runtime, and a way to build it from an sdist.

The wheel and the sdist are built once, from a copy of the tracked files, through the project's own build backend.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from shutil import copyfile

import pytest

from penstock.tools.docs.layout import tracked_files

REPOSITORY = Path(__file__).resolve().parents[2]
MAPPED = {
    "penstock": "penstock",
    "compiler": "penstock/compiler",
    "runtime": "penstock/runtime",
    "tools": "penstock/tools",
}
LIBRARY = ("libpenstock.so", "libpenstock.a")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Paths of a wheel and an sdist."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for path in tracked_files(REPOSITORY):
        if Path(path).parts[0] in MAPPED or "/" not in path:
            target = tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            copyfile(REPOSITORY / path, target)
    code = (
        "import sys; sys.path.insert(0, 'tools/packaging'); import backend\n"
        f"print(backend.build_wheel({str(out)!r}), backend.build_sdist({str(out)!r}), sep='\\n')"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    wheel, sdist = result.stdout.split()[-2:]
    return out / wheel, out / sdist


def test_wheel_holds_every_module_and_the_native_runtime(built: tuple[Path, Path]):
    names = set(zipfile.ZipFile(built[0]).namelist())
    for path in tracked_files(REPOSITORY):
        top, _, rest = path.partition("/")
        if top in MAPPED and path.endswith((".py", ".h", "py.typed")):
            assert f"{MAPPED[top]}/{rest}" in names
    for library in LIBRARY:
        assert f"penstock/runtime/native/lib/{library}" in names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"penstock"}


def test_wheel_is_for_this_platform_and_any_python(built: tuple[Path, Path]):
    python, abi, platform = built[0].stem.split("-")[-3:]
    assert (python, abi) == ("py3", "none")
    assert platform.startswith("linux_")


def test_sdist_holds_what_building_needs(built: tuple[Path, Path]):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for path in tracked_files(REPOSITORY):
        if path.startswith(("runtime/native/", "tools/packaging/")) or path in (
            "setup.py",
            "pyproject.toml",
            "LICENSE",
        ):
            assert path in names


def test_unpacked_wheel_imports_without_the_compiler(built: tuple[Path, Path], tmp_path: Path):
    zipfile.ZipFile(built[0]).extractall(tmp_path)
    code = "import penstock, penstock.runtime, sys; print(penstock.__file__); assert 'xdsl' not in sys.modules"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "penstock" / "__init__.py")
