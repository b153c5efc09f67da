"""The build backend: setuptools, plus a C compiler wheel where the machine has none.

In: the hooks of PEP 517 and PEP 660, called by pip or build. Out: what setuptools answers, with one addition. The
native runtime (runtime/native) is C11; a machine without `cc`, `gcc` or `clang` on PATH gets the `ziglang` wheel, a
whole C compiler and linker, as a build requirement. It is asked for only then, because it is 80 MB.
"""

from typing import Any

from compiler_choice import compiler_requirement
from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ConfigSettings = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: ConfigSettings = None) -> list[str]:
    """Requirements of a wheel beside `build-system.requires` (PEP 517)."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *compiler_requirement()]


def get_requires_for_build_editable(config_settings: ConfigSettings = None) -> list[str]:
    """Requirements of an editable install beside `build-system.requires` (PEP 660)."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *compiler_requirement()]
