"""What the machine code of a kernel depends on, by name.

In: a dispatch, whose body says what the kernel computes, and the level it is compiled for. Out: named texts. The one
idea: the key is taken at the earliest point, the fused dispatch, so that a kernel that is known is neither lowered nor
emitted; what lies between the dispatch and its code is the compiler itself, and that is an ingredient, too.

The compiler's ingredient is a digest of its sources (all but the front ends, which no dispatch depends on), so nobody
has to remember to change a version, and a working tree never reads what another state of it wrote.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from penstock.compiler.dialects.graph.structure import Dispatch
from penstock.compiler.passes.fuse.share_kernels import signature

WITHOUT = ("frontends",)
"""Folders of the compiler that no kernel depends on: a dispatch says all that is left of a model."""


def ingredients_of(dispatch: Dispatch, target: str, level: str) -> dict[str, str]:
    """The ingredients of the kernel of ``dispatch``, the most general first."""
    return {**toolchain(), "target": f"{target} {level}", **description(dispatch)}


def description(dispatch: Dispatch) -> dict[str, str]:
    """The ingredients that say what is computed. Names of values, of the kernel and of its source do not count."""
    kinds = [op.name.removeprefix("graph.") for op in dispatch.body.ops][:-1]
    inputs = ", ".join(str(value.type) for value in dispatch.body.args)
    outputs = ", ".join(str(value.type) for value in dispatch.terminator.operands)
    return {
        "schedule": dispatch.kind,
        "operations": " ".join(kinds),
        "types": f"({inputs}) -> ({outputs})",
        "body": signature(dispatch),
    }


@cache
def toolchain() -> dict[str, str]:
    """The ingredients that are the same for all kernels: what compiles them."""
    return {
        "penstock": sources_digest(),
        "LLVM": f"llvmlite {version('llvmlite')}, {_llvm_bytes()} bytes",
        "IR library": f"xdsl {version('xdsl')}",
        "arithmetic": f"numpy {version('numpy')}, Python {platform.python_version()}",
    }


def sources_digest() -> str:
    """A digest of the sources that kernels are made by. Raises OSError where there are none."""
    state = hashlib.blake2b(digest_size=12)
    for name, path in sources():
        content = path.read_bytes()
        state.update(f"{name}\0{len(content)}\0".encode())
        state.update(content)
    return state.hexdigest()


def sources() -> Iterator[tuple[str, Path]]:
    """The compiler's modules but those of ``WITHOUT``: path within the compiler, and file. Raises OSError."""
    root = Path(__file__).parents[1]
    found = sorted(
        (str(path.relative_to(root)), path)
        for part in (path for path in root.iterdir() if path.name not in WITHOUT)
        for path in ([part] if part.suffix == ".py" else part.rglob("*.py"))
    )
    if not found:
        raise OSError("the compiler's sources are not installed")
    yield from found


def _llvm_bytes() -> int:
    """The size of LLVM's library: builds of llvmlite of one version may have different ones."""
    spec = find_spec("llvmlite")
    places = spec.submodule_search_locations if spec else None
    return sum(path.stat().st_size for place in places or () for path in Path(place).glob("binding/*llvmlite*.so"))
