"""The cann engine: GE graphs on an Ascend NPU, through libraries that are found at run time."""
