"""Settings and fixtures shared by every test.

Random tests are reproducible: hypothesis derives its examples from the test itself, and nothing depends on how long a
test takes, so the suite gives the same answer on a busy machine, in one process or in several.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parents[1]

settings.register_profile(
    "penstock", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("penstock")

# No test reads what another version of the compiler has made, nor writes into its user's cache.
os.environ["PENSTOCK_CACHE"] = "off"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def digits_model() -> Path:
    """The demo model: 1 x 1 x 8 x 8 grey levels to ten probabilities (see examples/digits)."""
    return REPOSITORY / "examples" / "digits" / "digits.onnx"
