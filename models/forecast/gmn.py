"""Graph mechanics network (GMN), Huang, Han, Rong, Xu, Sun and Huang 2022 (arXiv:2203.06442), and two recurrent variants of it.

Nodes belong to rigid objects: isolated nodes, sticks of two, and hinges of a centre and two ends. Messages between all pairs give a force
on each node, as in EGNN. A layer moves each object in generalised coordinates, so that the bones within it keep their lengths exactly:

    a_0 = mean over k in the object of f_k                 the acceleration of its origin, with learned weights of f_k, r_k, v_k - v_0
    v_0 <- phi_v(h_c) v_0 + a_0,  x_0 <- x_0 + v_0         the origin: the middle of a stick, the centre of a hinge
    w_k <- phi_w(h_k) w_k + beta_k                         w_k = r_k x (v_k - v_0) / |r_k|^2,  beta_k = r_k x (f_k - a_0) / |r_k|^2
    x_k <- x_0 + exp([w_k]x) r_k,  v_k <- v_0 + w_k x r_k  with r_k = x_k - x_0; a stick has one w and the beta of both ends

The published comparison prints sizes: GMN 27K, LSTM (GMN) and LSTM_INV 33K. The layer has the parameters of the authors' code (13,222 at
hidden 32). The rest is inferred. The fingers are hinges about the DIP (thumb: IP) joint, the wrist and the middle MCP a stick, and the
other joints isolated. h begins as a linear layer of the speeds of the past frames and the kind of object; edges know whether two nodes
share an object and a hand. The paper's network maps one frame to one; here each future frame is the last pose, moved by a learned
combination of the v_0 and rotated by one of the w_k before and after each layer. The answer therefore keeps the lengths too. These
combinations begin at zero, so that an untrained network repeats the last pose. Each further mode has its own. The last layer's update of
h, which nothing reads, is omitted.

`memory` adds an LSTM over the past of each node, whose last state joins h: "vectors" feeds it velocities (LSTM (GMN)), which breaks
rotation, and "invariants" feeds it speeds, changes of velocity and distances from the middle of the frame (LSTM_INV).

Where ours differs: no force is cut off axis by axis, which breaks rotation; the authors normalise the dot products of a message to length
1, which makes a stick's single one always 1, and ours are divided by 1 plus their length; |r|^2 is at least a thousandth of the clip's
mean instead of an absolute bound.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.layers.messages import Messages
from models.layers.pairs import distances
from models.layers.rotations import cross, rotate
from models.layers.trajectories import ReadOut, norms, poses, trajectories, velocities
from models.skeletons.hand import ASSEMBLY101, FINGERS

Points = Float[Tensor, "batch 3 nodes"]
Nodes = Float[Tensor, "batch nodes D"]
Matrix = Float[Tensor, "nodes nodes"]

STICKS = (("wrist", "middle_mcp"),)
HINGES = (  # the centre first
    ("thumb_ip", "thumb_mcp", "thumb_tip"),
    *((f"{finger}_dip", f"{finger}_pip", f"{finger}_tip") for finger in FINGERS[1:]),
)


@dataclass(frozen=True)
class GMNConfig:
    """Sizes of a GMN and its recurrent part."""

    hidden: int = 32
    layers: int = 2
    memory: Literal["none", "vectors", "invariants"] = "none"

    def build(self, task: HandForecast) -> "GMN":
        """Build the network for a task."""
        return GMN(task, self)


class GMN(nn.Module):
    """A forecaster of poses that keeps the lengths of the bones within its sticks and hinges."""

    def __init__(self, task: HandForecast, config: GMNConfig) -> None:
        super().__init__()
        d = config.hidden
        self.task, self.config = task, config
        vectors = config.memory == "vectors"
        self.symmetries = ("translation",) if vectors else ("translation", "rotation", "mirror-swap")
        self.objects = HandObjects()
        self.embed = nn.Linear(task.past + 1, d)
        if config.memory != "none":
            self.memory = nn.LSTM(3, d, batch_first=True)
            self.join = nn.Linear(2 * d, d)
        last = config.layers - 1
        self.layers = nn.ModuleList(GMNLayer(d, update=i < last) for i in range(config.layers))
        self.move = ReadOut(1 + config.layers, task.modes, task.future)
        self.turn = ReadOut(1 + config.layers, task.modes, task.future)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        observed, mean = trajectories(past)
        velocity = velocities(observed, self.task.fps)
        x, v = observed[:, :, -1], velocity[:, :, -1]
        objects = self.objects(x)
        kind = (objects.stick + 2 * objects.hinge)[:, None].expand(x.shape[0], -1, -1)
        h = self.embed(torch.cat([norms(velocity), kind], dim=-1))
        if self.config.memory != "none":
            h = self.join(torch.cat([h, self._remembered(observed, velocity)], dim=-1))

        origin, r = objects.split(x)
        v0, along = objects.split(v)
        moves, turns = [v0], [objects.spin(r, along)]
        for layer in self.layers:
            h, x, v, v0, w = layer(h, x, v, objects)
            moves.append(v0)
            turns.append(w)
        w = self.turn(torch.stack(turns, dim=2))
        moved = self.move(torch.stack(moves, dim=2)) + rotate(w, r[:, :, None, None].expand_as(w))
        return poses(moved, origin.unsqueeze(2), mean)

    def _remembered(self, x: Float[Tensor, "batch 3 past nodes"], v: Float[Tensor, "batch 3 past nodes"]) -> Nodes:
        """Return the LSTM's state of each node after the past."""
        if self.config.memory == "vectors":
            frames = v.permute(0, 3, 2, 1)  # (batch, nodes, past, 3)
        else:
            change = torch.cat([v[:, :, :1] * 0, v[:, :, 1:] - v[:, :, :-1]], dim=2)
            frames = torch.stack([norms(v), norms(change), norms(x - x.mean(dim=3, keepdim=True))], dim=-1)
        states, _ = self.memory(frames.flatten(0, 1))
        return states[:, -1].unflatten(0, (-1, x.shape[3]))


class Objects(NamedTuple):
    """Constant matrices that say which nodes of one hand or two form an object."""

    centre: Matrix  # x_0 of each node's object from the positions
    average: Matrix  # the mean over each node's object
    ends: Matrix  # the sum over the ends of each node's stick or hinge
    pooled: Matrix  # the sum of torques: over both ends of a stick, over the end itself in a hinge
    edges: Float[Tensor, "2 nodes nodes"]  # whether two nodes share an object, and a hand
    isolated: Float[Tensor, " nodes"]
    stick: Float[Tensor, " nodes"]
    hinge: Float[Tensor, " nodes"]

    def split(self, x: Points) -> tuple[Points, Points]:
        """Return x_0 of each node's object, and x - x_0."""
        centre = x @ self.centre.T
        return centre, x - centre

    def spin(self, r: Points, along: Points) -> Points:
        """Return the torque of `along` divided by |r|^2, both pooled: an angular velocity from velocities, beta from forces.

        |r|^2 is at least a thousandth of its mean over the nodes of the clip.
        """
        square = r.square().sum(1, keepdim=True) @ self.pooled.T
        floor = (1e-3 * square.mean(dim=2, keepdim=True)).clamp_min(1e-12)
        return cross(r, along) @ self.pooled.T / torch.maximum(square, floor)


class HandObjects(nn.Module):
    """The objects of the hands, which are the same in both, in buffers."""

    matrices: Tensor
    kinds: Tensor  # (3, nodes): isolated, stick, hinge

    def __init__(self) -> None:
        super().__init__()
        index, n = ASSEMBLY101.joints.index, len(ASSEMBLY101.joints)
        centre, average, ends, pooled = torch.eye(n), torch.eye(n), torch.zeros(n, n), torch.eye(n)
        kind = torch.zeros(n, dtype=torch.long)
        for names in (*STICKS, *HINGES):
            members = torch.tensor([index(name) for name in names])
            block = (members[:, None], members)
            stick = len(names) == 2
            average[block] = 1 / len(names)
            centre[block] = 0.5 if stick else torch.tensor([1.0, 0.0, 0.0])
            ends[block] = torch.tensor([1.0, 1.0] if stick else [0.0, 1.0, 1.0])
            pooled[block] = torch.ones(2, 2) if stick else torch.eye(3)
            kind[members] = len(names) - 1
        share, hand = (average > 0).float(), torch.ones(n, n)
        matrices = [torch.block_diag(x, x) for x in (centre, average, ends, pooled, share, hand)]
        self.register_buffer("matrices", torch.stack(matrices), persistent=False)
        self.register_buffer("kinds", torch.eye(3)[kind].T.repeat(1, 2), persistent=False)

    def forward(self, x: Points) -> Objects:
        """Return the objects of the nodes of x, of one hand or both."""
        matrices, kinds = self.matrices[:, : x.shape[2], : x.shape[2]], self.kinds[:, : x.shape[2]]
        centre, average, ends, pooled = matrices[:4].unbind()
        isolated, stick, hinge = kinds.unbind()
        return Objects(centre, average, ends, pooled, matrices[4:], isolated, stick, hinge)


class GMNLayer(nn.Module):
    """One layer of the equations above; without `update` it leaves h as it was."""

    def __init__(self, hidden: int, *, update: bool = True) -> None:
        super().__init__()
        d = hidden
        self.messages = Messages(d, 3)
        self.of_velocity = _perceptron(d, d, 1)
        self.of_spin = _perceptron(d, d, 1)
        self.of_ends = _perceptron(d, d, d)
        self.stick = _perceptron(1, d, 1)
        self.hinge = _perceptron(9, d, 3)
        self.node = _perceptron(3 * d, d, d) if update else None

    def forward(self, h: Nodes, x: Points, v: Points, objects: Objects) -> tuple[Nodes, Points, Points, Points, Points]:
        """Return h, x, v, and of each node's object v_0 and w."""
        apart = distances(x.unsqueeze(2)).square()
        features = torch.cat([apart, objects.edges.expand(x.shape[0], -1, -1, -1)], dim=1)
        force, messages = self.messages(h, features, x.unsqueeze(2))
        f = force.squeeze(2)
        centre, r = objects.split(x)
        v0, along = objects.split(v)
        a0 = self._pushes(f, r, along, objects) @ objects.average.T

        # not objects.ends @ ..., in which the exporter takes the number of nodes for a constant
        h_ends = (self.of_ends(h).transpose(1, 2) @ objects.ends.T).transpose(1, 2)
        h_origin = h_ends + objects.isolated[:, None] * h
        h_spin = torch.where(objects.stick[:, None] > 0, h_ends, h)
        v0 = self.of_velocity(h_origin).transpose(1, 2) * v0 + a0
        # phi_w is the same for both ends of a stick, so that it can be applied before the torques are pooled
        w = objects.spin(r, self.of_spin(h_spin).transpose(1, 2) * along + f - a0)
        r = rotate(w, r)
        if self.node is not None:
            h = h + self.node(torch.cat([h, h, messages], dim=-1))
        return h, centre + v0 + r, v0 + cross(w, r), v0, w

    def _pushes(self, f: Points, r: Points, along: Points, objects: Objects) -> Points:
        """Return each node's part in the acceleration of its object: f if isolated, otherwise combinations with invariant gains."""
        vectors = torch.stack([f, r, along], dim=1)  # (batch, K, 3, nodes)
        products = (vectors.unsqueeze(1) * vectors.unsqueeze(2)).sum(3)  # (batch, K, K, nodes)
        of_hinge = self.hinge(_shortened(products.flatten(1, 2).transpose(1, 2))).transpose(1, 2)
        of_stick = self.stick(_shortened(products[:, 0, :1].transpose(1, 2))).transpose(1, 2)
        alone = (objects.isolated + objects.stick * of_stick) * f
        return alone + objects.hinge * (of_hinge.unsqueeze(2) * vectors).sum(1)


def _shortened(products: Float[Tensor, "batch nodes K"]) -> Float[Tensor, "batch nodes K"]:
    """Divide invariants by 1 plus their length."""
    return products / (1 + products.square().sum(2, keepdim=True).clamp_min(1e-12).sqrt())


def _perceptron(features: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, out))
