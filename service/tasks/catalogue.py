"""The endpoints of all tasks: a new task is one line here."""

from service.tasks.bodies.endpoint import ACTIONS, LIFT, POSES
from service.tasks.endpoint import Endpoint
from service.tasks.faces.endpoint import FACE
from service.tasks.hands.endpoint import HANDS

ENDPOINTS: tuple[Endpoint, ...] = (HANDS, LIFT, POSES, ACTIONS, FACE)
BY_KIND = {endpoint.kind: endpoint for endpoint in ENDPOINTS}
EXAMPLES = {endpoint.kind: endpoint.example for endpoint in ENDPOINTS}
