"""What is shown of a trained network and what its bundle says of it, for each kind of task."""

from training.engine.study import Study
from training.tasks.bodies import study as body_studies
from training.tasks.faces.study import face_facts, show_faces
from training.tasks.hands.study import hand_facts, show_hands

BODIES = Study(body_studies.show, body_studies.facts)
STUDIES = {
    "hand-forecast": Study(show_hands, hand_facts),
    "face-landmarks": Study(show_faces, face_facts),
    **dict.fromkeys(("pose-lift", "pose-forecast", "action-recognition"), BODIES),
}
