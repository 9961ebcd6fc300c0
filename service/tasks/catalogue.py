"""The endpoints of all tasks: a new task is one line here."""

from service.tasks.batch import batch_of_clips
from service.tasks.bodies.endpoint import ACTIONS, LIFT, POSES
from service.tasks.endpoint import Endpoint
from service.tasks.faces.endpoint import FACE, FACES
from service.tasks.hands.endpoint import HANDS
from service.tasks.open_inference import INFER

SINGLE: tuple[Endpoint, ...] = (HANDS, LIFT, POSES, ACTIONS, FACE)
BATCHES: tuple[Endpoint, ...] = (*map(batch_of_clips, (HANDS, LIFT, POSES, ACTIONS)), FACES)
ENDPOINTS = SINGLE + BATCHES
BY_PATH = {endpoint.path: endpoint for endpoint in (*ENDPOINTS, INFER)}
KINDS = tuple(endpoint.kinds for endpoint in SINGLE)
EXAMPLES = {kind: endpoint.example for endpoint in SINGLE for kind in endpoint.kinds}
