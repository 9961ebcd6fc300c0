"""Where each source of training data comes from and what its licence allows; a bundle carries this with its weights."""

from models.contract.bundle import TrainingSource

_LICENCES = {
    "leap": ("Apache-2.0", "Leap Motion, Inc.: leapmotion-examples, leapjs-plugins, leapjs-playback"),
    "tzionas": ("MIT", "Tzionas et al., Capturing Hands in Action, IJCV 2016; Tzionas and Gall, ICCV 2015"),
    "manipnet": ("CC BY-NC", "Zhang et al., ManipNet, SIGGRAPH 2021"),
    "humoto": ("Adobe Research License v1.1, noncommercial research", "Lu et al., HUMOTO, ICCV 2025"),
    "ict_facekit": (
        "MIT",
        "Li et al., ICT-FaceKit, (c) 2020 USC Institute for Creative Technologies; simulated scans of it",
    ),
    "facescape": ("FaceScape licence: non-commercial research, no redistribution", "Yang et al., FaceScape, CVPR 2020"),
    "hdm05_11": (
        "CC BY-SA 3.0",
        "The data used in this project was obtained from HDM05: Müller et al., Mocap Database HDM05, CG-2007-2, Univ. Bonn, 2007",
    ),
    "cmu_9act": (
        "free for all uses, no resale",
        "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217",
    ),
    "reactidle": ("MIT", "Atxa Landa et al., ReActIdle, 2025"),
    "assembly101_sample": ("CC BY-NC 4.0", "Sener et al., Assembly101, CVPR 2022"),
}


def source_of(name: str, recordings: int) -> TrainingSource:
    """The entry for a bundle. Raises KeyError for a source whose licence nobody wrote down here: it may not be trained on."""
    licence, attribution = _LICENCES[name]
    return TrainingSource(name=name, licence=licence, attribution=attribution, recordings=recordings)
