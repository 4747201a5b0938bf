"""What the stream passes share: tasks and their order, the cost model, the list scheduler."""
