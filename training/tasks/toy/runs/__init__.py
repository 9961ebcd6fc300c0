"""The runs of the toy task."""
