"""``dtype_promote`` under its customary path."""

from torchair.ge.promotion import dtype_promote

__all__ = ["dtype_promote"]
