"""``python test/conformance``: see ``command.py``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here and in workers
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from conformance.command import main

    sys.exit(main())
