"""Which requirement brings a C compiler, if the machine has none.

In: $CC and PATH. Out: a list of requirements, empty on a machine with a C compiler. Standard library only: the build
backend and the development script both ask.
"""

import os
import shutil

ZIG_REQUIREMENT = "ziglang>=0.13,<0.17"  # a whole C compiler and linker in one wheel
COMPILERS = ("cc", "gcc", "clang")


def compiler_requirement() -> list[str]:
    """The `ziglang` wheel unless $CC or a usual C compiler, and `ar`, are on PATH (see runtime/native/build.py)."""
    names = [*os.environ.get("CC", "").split()[:1], *COMPILERS]
    return [] if shutil.which("ar") and any(map(shutil.which, names)) else [ZIG_REQUIREMENT]
