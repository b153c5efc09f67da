"""docs/layout.md: every folder of the repository, in the order data goes through it, with what it is for.

In: the tree. Out: one list. What a folder is for is the first sentence of its package docstring, or of its README.md
where it holds no package; a folder without either fails here, so none stays unexplained.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

PAGE = "docs/layout.md"
DEPTH = {"compiler": 3}  # folders are listed this deep below a top-level folder
USUAL_DEPTH = 2

# Siblings in the order a model passes through them; a name that is not here follows, by alphabet.
ORDER = {
    ".": ["penstock", "compiler", "runtime", "tools", "tests", "examples", "benchmarks", "docs"],
    "compiler": ["frontends", "dialects", "passes", "backends", "artifact", "caching", "tuning"],
    "compiler/dialects": ["graph", "tile", "npu", "plan"],
    "compiler/passes": [
        *("import", "simplify", "quantize", "place", "layout", "fuse", "lower", "plan", "emit", "package"),
    ],
    "tests": ["filecheck", "unit", "conformance", "fuzz"],
}

TOP_LEVEL_FILES = {
    "dev": "every development command: `./dev demo`, `./dev test`, `./dev lint`, `./dev docs`, `./dev shell`",
    "pyproject.toml": "what penstock depends on, and the settings of every tool",
    "setup.py": "which packages there are, and the native runtime as a build step",
    ".ci/run": "what continuous integration runs",
    "CONTRIBUTING.md": "how we work",
}

INTRODUCTION = """\
# Layout of the repository

A saved model enters at `compiler/frontends`, goes down the dialects and passes, is turned into machine code by a
back end and leaves as one artifact file, which `runtime` maps and runs. The folders are listed in that order.

The top-level folders `compiler`, `runtime` and `tools` are installed as `penstock.compiler`, `penstock.runtime` and
`penstock.tools`. Adding an op, a pass or a back end adds a file: nothing is registered by hand.
"""


def render(root: Path) -> str:
    """The page's Markdown. Raises ValueError naming every folder that nothing describes."""
    folders = listed_folders(root)
    lines: list[str] = []
    unexplained: list[str] = []
    for folder in sorted(folders, key=_position):
        purpose = description(root / folder)
        if purpose is None:
            unexplained.append(folder)
            continue
        parts = Path(folder).parts
        lines.append(f"{'  ' * (len(parts) - 1)}* [`{parts[-1]}/`](../{folder}/): {purpose}")
    if unexplained:
        raise ValueError(f"no package docstring and no README.md in: {', '.join(unexplained)}")
    files = [f"* [`{name}`](../{name}): {purpose}" for name, purpose in TOP_LEVEL_FILES.items()]
    return "\n".join([INTRODUCTION, "## Folders", "", *lines, "", "## Files at the top", "", *files])


def listed_folders(root: Path) -> list[str]:
    """Folders that hold tracked files, down to DEPTH; hidden ones and plain data left out."""
    folders: set[str] = set()
    for path in tracked_files(root):
        parts = Path(path).parts[:-1]
        if not parts or parts[0].startswith(".") or "data" in parts:
            continue
        for depth in range(1, min(len(parts), DEPTH.get(parts[0], USUAL_DEPTH)) + 1):
            folders.add("/".join(parts[:depth]))
    return sorted(folders)


def tracked_files(root: Path) -> list[str]:
    """Paths, relative to the root, of the files that git tracks."""
    result = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
    return [path for path in result.stdout.split("\0") if path and (root / path).exists()]


def description(folder: Path) -> str | None:
    """What a folder is for: the first sentence of its package docstring, README.md or index.md, if it has one."""
    package = folder / "__init__.py"
    page = next((path for name in ("README.md", "index.md") if (path := folder / name).exists()), None)
    if package.exists():
        text = ast.get_docstring(ast.parse(package.read_text())) or ""
    elif page is not None:
        text = re.sub(r"\A#.*\n+", "", page.read_text())
    else:
        return None
    return _first_sentence(text) or None


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split()).replace("``", "`")
    match = re.match(r"(.*?\.)(\s|$)", paragraph)
    return match.group(1) if match else paragraph


def _position(folder: str) -> list[tuple[int, str]]:
    path = Path(folder)
    keys: list[tuple[int, str]] = []
    for part, parent in zip(path.parts, reversed(path.parents), strict=True):
        siblings = ORDER.get(parent.as_posix(), [])
        keys.append((siblings.index(part) if part in siblings else len(siblings), part))
    return keys
