"""Reader of C3D, the binary format of marker motion (c3d.org), with the package c3d, an optional extra."""

import warnings
from pathlib import Path

import numpy as np

from training.data.reading import READING
from training.tasks.bodies.own.recorded import MAX_FRAMES, MAX_POINTS, MalformedMotion, Recorded

FLOAT_BYTES, INTEGER_BYTES = 16, 8  # of a marker in a frame


def read_c3d(path: Path) -> Recorded:
    """Return the labelled points of a C3D file; one without a valid residual is missing. Raises MalformedMotion.

    Memory is taken only for frames that the file is long enough to have.
    """
    try:
        import c3d  # here, for it is an optional extra
    except ImportError:
        raise MalformedMotion("expected the package that reads .c3d; install it: pip install 'chiron[mocap]'") from None
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of analog channels and of parameters that are not needed
            reader = c3d.Reader(file)
            frames, count, size = int(reader.frame_count), int(reader.point_used), path.stat().st_size
            least = frames * count * (FLOAT_BYTES if reader.point_scale < 0 else INTEGER_BYTES)
            if not (0 < frames <= MAX_FRAMES and 0 < count <= MAX_POINTS):
                raise MalformedMotion(
                    f"expected up to {MAX_FRAMES:,} frames of 1 to {MAX_POINTS} markers, got {frames:,} of {count}"
                )
            if least > size:
                raise MalformedMotion(f"expected {frames:,} frames of {count} markers, got a file of {size:,} bytes")
            labels = tuple(str(label).strip() for label in reader.point_labels)[:count]
            unit = reader.get("POINT:UNITS")
            points = np.full((frames, count, 3), np.nan)
            read = 0
            for read, (_, values, _) in enumerate(reader.read_frames(copy=False), 1):
                points[read - 1] = np.where(values[:, 3:4] >= 0, values[:, :3], np.nan)
            rate, units = float(reader.point_rate), unit.string_value.strip().lower() if unit else None
    except MalformedMotion:
        raise
    except (*READING, AssertionError) as error:
        raise MalformedMotion(f"expected a C3D file, got {type(error).__name__}: {str(error)[:200]}") from error
    if read < frames:
        raise MalformedMotion(f"expected {frames:,} frames, got {read:,} and the end of the file")
    return Recorded(points, labels, fps=rate, units=units or None)
