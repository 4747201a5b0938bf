"""What plain ``xdsl-opt`` sees of this project (entry point ``xdsl.universe``).

All dialects, and the passes whose names xDSL does not use. xDSL refuses two passes of one name, so
``canonicalize``, ``cse`` and ``dce`` are xDSL's there and ours in ``torchair-opt``.
"""

from __future__ import annotations

from xdsl.transforms import get_all_passes
from xdsl.universe import Universe

from torchair.passes import ALL_PASSES
from torchair.tools.context import get_dialects

UNIVERSE = Universe(
    all_dialects=get_dialects(),
    all_passes={
        name: factory for name, factory in ALL_PASSES.items() if name not in get_all_passes()
    },
)
