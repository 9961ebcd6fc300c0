"""A toy task: the mean of four numbers."""
