"""The package's logger: ``from torchair.core.utils import logger``."""

from __future__ import annotations

import logging

EVENT = 35
"""Level of progress messages that are shown by default levels below ERROR."""

logger = logging.getLogger("torchair")

__all__ = ["EVENT", "logger"]
