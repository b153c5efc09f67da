"""Which requirement brings a C compiler, if the machine has none.

In: $CC and PATH. Out: a list of requirements, empty on a machine with a C compiler. Standard library only: the build
backend and the development script both ask.
"""

import os
import shutil

ZIG_REQUIREMENT = "ziglang>=0.13,<0.17"  # a whole C compiler and linker in one wheel
COMPILERS = ("cc", "gcc", "clang")


def compiler_requirement() -> list[str]:
    """The `ziglang` wheel if neither $CC nor a usual C compiler name is on PATH, else nothing."""
    names = [os.environ.get("CC", "").split(" ")[0], *COMPILERS]
    return [] if any(name and shutil.which(name) for name in names) else [ZIG_REQUIREMENT]
