"""torchair: a graph-mode compiler backend of torch.compile for Ascend NPUs."""
