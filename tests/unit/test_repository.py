"""What must hold of the repository itself: its layout, its texts, and how light its imports are."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.tools.docs import pages
from penstock.tools.docs.layout import tracked_files

REPOSITORY = Path(__file__).resolve().parents[2]
TRACKED = tracked_files(REPOSITORY)
PYTHON = [path for path in TRACKED if path.endswith(".py") or path == "dev"]
PACKAGE_FOLDERS = ("penstock", "compiler", "runtime", "tools")
TEXT_SUFFIXES = (".py", ".c", ".h", ".md", ".toml", ".mlir", ".html", ".js", ".css", ".cfg", ".txt", "")

TOP_LEVEL = {
    *("pyproject.toml", "README.md", "dev", "penstock", "compiler", "runtime", "tools", "tests", "docs"),
    *("examples", "benchmarks", "setup.py", "LICENSE", "CONTRIBUTING.md", ".gitignore", ".ci"),
}
MODULE_LINES = 600
NATIVE_LINES = 4350

# Files that state these rules, and so say the words.
RULE_FILES = {"tests/unit/test_repository.py", "CONTRIBUTING.md"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATH = re.compile(r"(?<![\w./:-])/(work|root|home|Users|opt)/\w")


def read(path: str) -> str:
    return (REPOSITORY / path).read_text()


def test_top_level_is_as_the_layout_says():
    assert {Path(path).parts[0] for path in TRACKED} <= TOP_LEVEL


@pytest.mark.parametrize("rule", [UNFINISHED, MACHINE_PATH], ids=["unfinished", "machine-path"])
def test_no_text_speaks_of_unfinished_work_or_of_one_machine(rule: re.Pattern[str]):
    found: list[str] = []
    for path in TRACKED:
        if Path(path).suffix in TEXT_SUFFIXES and path not in RULE_FILES and path != "LICENSE":
            for number, line in enumerate(read(path).splitlines(), 1):
                if rule.search(line):
                    found.append(f"{path}:{number}: {line.strip()}")
    assert found == []


def test_every_python_file_says_what_it_is():
    silent = [path for path in PYTHON if not (ast.get_docstring(ast.parse(read(path))) or "").strip()]
    assert silent == []


def test_every_module_fits_in_a_reader():
    long = {path: lines for path in PYTHON if (lines := len(read(path).splitlines())) >= MODULE_LINES}
    assert long == {}


def test_the_native_runtime_stays_small():
    sources = [path for path in TRACKED if path.startswith("runtime/native/") and path.endswith((".c", ".h"))]
    sources.remove("runtime/native/plan_format.h")  # generated
    assert sum(len(read(path).splitlines()) for path in sources) < NATIVE_LINES


def test_every_folder_of_modules_is_a_package():
    folders = {Path(path).parent for path in PYTHON if Path(path).parts[0] in PACKAGE_FOLDERS}
    folders -= {Path("runtime/native")}  # C sources and the script that builds them, not a package
    assert [str(folder) for folder in sorted(folders) if f"{folder}/__init__.py" not in TRACKED] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.path)
def test_generated_page_says_what_the_code_says(page):
    assert read(page.path) == page.text(REPOSITORY), "run ./dev docs"


def test_links_between_pages_lead_somewhere():
    broken: list[str] = []
    for path in TRACKED:
        if path.endswith(".md"):
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", read(path)):
                if "://" not in target and not (REPOSITORY / path).parent.joinpath(target).exists():
                    broken.append(f"{path}: {target}")
    assert broken == []


def loaded_by(statements: str) -> set[str]:
    """Top-level modules in sys.modules after the statements ran in a fresh interpreter; their output is dropped."""
    code = (
        "import contextlib, io, json, sys\n"
        "before = set(sys.modules)\n"
        f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    {statements}\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))\n"
    )
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout))


def third_party(modules: set[str]) -> set[str]:
    return {name for name in modules if name not in sys.stdlib_module_names and not name.startswith("_")} - {"penstock"}


def test_importing_penstock_loads_no_third_party_module():
    assert third_party(loaded_by("import penstock")) == set()


def test_importing_the_runtime_loads_numpy_alone():
    assert third_party(loaded_by("import penstock.runtime")) <= {"numpy"}


def test_the_command_line_helps_without_loading_what_compiling_needs():
    modules = loaded_by("from penstock.tools.cli import main; main(['--help'])")
    assert modules & {"numpy", "onnx", "xdsl", "llvmlite", "google", "onnxruntime"} == set()


def test_every_public_name_is_where_the_public_face_says():
    penstock = importlib.import_module("penstock")
    assert set(penstock.__all__) <= set(dir(penstock))
    for name in penstock.__all__:
        assert getattr(penstock, name) is not None


def test_an_unknown_public_name_is_an_attribute_error():
    penstock = importlib.import_module("penstock")
    with pytest.raises(AttributeError, match="has no attribute 'compyle'"):
        penstock.compyle  # noqa: B018
