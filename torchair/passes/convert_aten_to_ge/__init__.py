"""Lowering from the aten dialect to the ge dialect; one file of converters per operator family."""

from torchair.passes.convert_aten_to_ge.convert import ConvertAtenToGePass
from torchair.passes.convert_aten_to_ge.registry import Converter, converters, converts

__all__ = ["ConvertAtenToGePass", "Converter", "converters", "converts"]
