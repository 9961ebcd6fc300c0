"""The studies, by kind of task, and the benchmarks, by name, that the command line and the workers run."""

from training.engine.benchmark import Benchmark
from training.engine.study import Study
from training.tasks.bodies import benchmark as bodies_benchmark
from training.tasks.bodies import study as bodies_study
from training.tasks.faces import benchmark as faces_benchmark
from training.tasks.faces import study as faces_study
from training.tasks.hands import benchmark as hands_benchmark
from training.tasks.hands import study as hands_study

STUDIES: dict[str, Study] = {
    "hand-forecast": hands_study.STUDY,
    "face-landmarks": faces_study.STUDY,
    **dict.fromkeys(("pose-lift", "pose-forecast", "action-recognition"), bodies_study.STUDY),
}
BENCHMARKS: dict[str, Benchmark] = {
    "hands": hands_benchmark.tables,
    "faces": faces_benchmark.tables,
    "bodies": bodies_benchmark.tables,
}
