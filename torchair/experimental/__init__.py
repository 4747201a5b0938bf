"""``torchair.experimental``: the public place of experimental functions."""
