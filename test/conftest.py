"""Settings of all tests: one intra-op thread, repeatable property tests, deprecations as errors."""

from __future__ import annotations

import os

# Before any test imports torch or numpy: their pools read this once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

# Machines stall at random, so no deadlines. An example that fails must fail everywhere, so no seed.
settings.register_profile(
    "torchair",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("torchair")


def pytest_configure(config: pytest.Config) -> None:
    # xDSL removes what it deprecates within months. It warns at the caller: our modules or its own.
    config.addinivalue_line("filterwarnings", r"error::DeprecationWarning:(xdsl|torchair)(\..*)?")
