"""Public namespace of inference: sizes of dynamic inputs."""

from __future__ import annotations

from torchair.frontend.gears import set_dim_gears

__all__ = ["set_dim_gears"]
