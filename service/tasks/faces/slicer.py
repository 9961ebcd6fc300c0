"""The landmarks as a point list of 3D Slicer: markups JSON (.mrk.json), or the older table (.fcsv).

Slicer takes the numbers of a mesh file as they are, as millimetres in its LPS system. The point list has the scan's own numbers in LPS
too, so that it lies on the scan when both are opened. A landmark without surface under it is not selected, which Slicer shows in another
colour.
"""

import csv
import io

from models.contract.bundle import BundleMeta
from models.skeletons.face import FACE68
from service.tasks.arrays import json_bytes
from service.tasks.faces.prepare import FoundFace

SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.0.json#"
COLUMNS = ("id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc", "associatedNodeID")


def markups(result: FoundFace, model: BundleMeta) -> bytes:
    """Return the landmarks as markups JSON, schema 1.0.0: one Fiducial list with names as labels, confidences as descriptions."""
    landmarks = zip(
        FACE68.joints, result.landmarks.tolist(), result.face.confidence.tolist(), result.seen.tolist(), strict=True
    )
    points = [
        {
            "id": str(index + 1),
            "label": name,
            "description": _description(confidence, seen),
            "position": position,
            "selected": seen,
            "locked": True,
            "visibility": True,
            "positionStatus": "defined",
        }
        for index, (name, position, confidence, seen) in enumerate(landmarks)
    ]
    return json_bytes(
        {"@schema": SCHEMA, "markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}]}
    )


def fcsv(result: FoundFace, model: BundleMeta) -> bytes:
    """Return the landmarks as .fcsv of Slicer 4.11 and later, whose header names the LPS system."""
    writer = csv.writer(text := io.StringIO(), lineterminator="\n")
    text.write("# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n")
    text.write(f"# columns = {','.join(COLUMNS)}\n")
    landmarks = zip(
        FACE68.joints, result.landmarks.tolist(), result.face.confidence.tolist(), result.seen.tolist(), strict=True
    )
    for index, (name, position, confidence, seen) in enumerate(landmarks):
        writer.writerow((index + 1, *position, 0, 0, 0, 1, 1, int(seen), 1, name, _description(confidence, seen), ""))
    return text.getvalue().encode()


def _description(confidence: float, seen: bool) -> str:
    return f"confidence {confidence:.3g}{'' if seen else ', no surface here'}"
