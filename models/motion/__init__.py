"""Clips of hands and bodies: resampling, gaps, and conversion to the arrays that networks take."""
