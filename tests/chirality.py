"""Reference implementations of the chirality transform and the paper's linear layer, for models/layers/chiral*.py."""

import torch
from torch import Tensor

from models.layers.chiral_spec import Spec

BODY = Spec.of_joints(pairs=6, centre=5, numbers=2, negated=1)
BODY_3D = Spec.of_joints(pairs=6, centre=5, numbers=3, negated=1)
PENN = Spec.of_joints(pairs=6, centre=1, numbers=2, negated=1)
HANDS = Spec.of_joints(pairs=21, centre=0, numbers=3, negated=1)
FREE = Spec(ln=2, lp=5, cn=3, cp=4)

H36M = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)  # the mirror partner of each joint of Human3.6M-17

# All kinds of input and output specs: equal and different joints, no centre, no negated pairs, centre alone, free counts.
ENDS: dict[str, tuple[Spec, Spec]] = {
    "joints in 2D to hidden": (Spec.of_joints(2, 3, 2, 1), FREE),
    "hidden to joints in 3D": (FREE, Spec.of_joints(2, 1, 3, 1)),
    "free to itself": (FREE, FREE),
    "other joints": (Spec.of_joints(3, 1, 2, 1), Spec.of_joints(2, 3, 3, 1)),
    "two hands": (Spec.of_joints(3, 0, 3, 1), Spec.of_joints(3, 0, 3, 1)),
    "regular": (Spec(lp=6), Spec(lp=4)),
    "no negated pairs": (Spec(lp=4, cn=2, cp=3), Spec(lp=3, cn=1, cp=2)),
    "no unchanged pairs": (Spec(ln=4, cn=2), Spec(ln=3, cp=2)),
    "no central negated": (Spec(3, 2, 0, 3), Spec(2, 3, 0, 2)),
    "gates": (FREE, FREE.gates),
    "invariant": (FREE, Spec(cp=7)),
    "centre alone": (Spec(cn=3, cp=4), Spec(cn=2, cp=5)),
}


def paper_transform(x: Tensor, spec: Spec, dim: int = -1) -> Tensor:
    """Return (-r_n, r_p, -l_n, l_p, -c_n, c_p) for (l_n, l_p, r_n, r_p, c_n, c_p)."""
    ln, lp, rn, rp, cn, cp = x.split([spec.ln, spec.lp, spec.ln, spec.lp, spec.cn, spec.cp], dim)
    return torch.cat([-rn, rp, -ln, lp, -cn, cp], dim)


def paper_linear(spec: Spec, out: Spec, *, full: bool, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Build a random matrix and bias of the paper's fully connected layer, block by block, on rows in the paper's order.

    The left rows are free. A right row is the left row with the sides exchanged; its sign changes between a negated and an
    unchanged number. `full` adds the block from l_n to c_p, which the paper leaves out.
    """
    make = torch.Generator().manual_seed(seed)

    def free(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, dtype=torch.float64, generator=make)

    def signed(block: Tensor, negated_columns: int) -> Tensor:
        sign = torch.ones_like(block)
        sign[: out.ln, negated_columns:] = -1
        sign[out.ln :, :negated_columns] = -1
        return sign * block

    a, b, g = free(out.pairs, spec.pairs), free(out.pairs, spec.pairs), free(out.pairs, spec.centre)
    cn_ln, cn_lp, cn_cn = free(out.cn, spec.ln), free(out.cn, spec.lp), free(out.cn, spec.cn)
    cp_ln, cp_lp, cp_cp = free(out.cp, spec.ln) * full, free(out.cp, spec.lp), free(out.cp, spec.cp)
    weight = torch.cat(
        [
            torch.cat([a, b, g], 1),
            torch.cat([signed(b, spec.ln), signed(a, spec.ln), signed(g, spec.cn)], 1),
            torch.cat([cn_ln, cn_lp, cn_ln, -cn_lp, cn_cn, torch.zeros(out.cn, spec.cp)], 1),
            torch.cat([cp_ln, cp_lp, -cp_ln, cp_lp, torch.zeros(out.cp, spec.cn), cp_cp], 1),
        ]
    )
    b_ln, b_lp, b_cp = free(1, out.ln)[0], free(1, out.lp)[0], free(1, out.cp)[0]
    return weight, torch.cat([b_ln, b_lp, -b_ln, b_lp, torch.zeros(out.cn), b_cp])
