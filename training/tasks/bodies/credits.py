"""Licences of the body data sets, and whom these credit, for the bundles of weights trained on them."""

from training.data.licences import Source
from training.tasks.bodies.readers.npz import SOURCES

RESEARCH = {  # their own terms; a bundle of weights trained on them is for its maker's research
    "human36m": ("for academic research, by agreement", "Ionescu et al., Human3.6M, TPAMI 2014"),
    "humaneva": ("for research, by agreement", "Sigal, Balan and Black, HumanEva, IJCV 2010"),
    "penn_action": (
        "none stated; published for research",
        "Zhang, Zhu and Derpanis, From Actemes to Action, ICCV 2013",
    ),
    "kinetics": (
        "none stated for the skeletons; published for research",
        "Kay et al. 2017; Yan, Xiong and Lin, AAAI 2018",
    ),
}


def credit(name: str) -> Source:
    """Return the licence of a source and whom it credits; a licence is None if nothing is known of it."""
    if name in RESEARCH:
        return Source(name, *RESEARCH[name])
    source = SOURCES.get(name)
    return Source(name, source.licence, source.attribution) if source else Source(name, None, "")
