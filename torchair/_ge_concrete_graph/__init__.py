"""Import paths of existing converters; everything here is defined elsewhere."""
