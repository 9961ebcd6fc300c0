"""Joint orders of hands, faces and bodies as values: names, bones, mirror pairs, and conversion between orders."""
