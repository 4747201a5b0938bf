"""``torchair.experimental.inference``: weights in internal formats."""

from torchair.frontend.internal_formats import use_internal_format_weight

__all__ = ["use_internal_format_weight"]
