"""Pictures of hands, faces and bodies, drawn with matplotlib."""
