"""Settings of ``lit tests/filecheck``: the files that pytest runs in process, each command in its own process."""

# pyright: reportUndefinedVariable=false
import os
import sys
from pathlib import Path

import lit.formats

config.name = "penstock"  # noqa: F821 (lit defines config)
config.test_format = lit.formats.ShTest(execute_external=False)  # noqa: F821
config.suffixes = [".mlir"]  # noqa: F821
config.test_source_root = str(Path(__file__).parent)  # noqa: F821
config.test_exec_root = str(Path(__file__).parents[2] / "build" / "lit")  # noqa: F821
config.environment["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]  # noqa: F821
config.environment["PENSTOCK_CACHE"] = "off"  # noqa: F821
config.substitutions.append(("%models", str(Path(__file__).parents[1] / "data" / "models")))  # noqa: F821
