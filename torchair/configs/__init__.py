"""Import paths that user code knows for the options; the options live in torchair.config."""
