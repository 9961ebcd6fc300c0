"""A bundle written again with the same weights: its graph, for a faster one, or its card, for figures measured anew."""

from torch import nn

from models.contract.bundle import Bundle, Measurement, repeat_example
from models.layers.freezing import frozen
from training.engine.export import checked_graph, git_commit, made_with, onnx_runner, runner, write_over
from training.engine.restore import with_factors_of


def redraw(network: nn.Module, bundle: Bundle, changed: tuple[str, ...] = ()) -> tuple[Bundle, float]:
    """Write the graph of a bundle again from a network with its weights; return the bundle and the largest difference of its answers.

    Outputs that are `changed` on purpose, such as a confidence that was fitted again, are not compared.

    The task, the data, the measurements and the intervals of the card stay, since the weights do, and so does the example's input. The card
    says at which commit the graph was written. All checks of an export are repeated, before the bundle is replaced.

    Raises NotTheNetwork, BrokenSymmetry, and BadBundle for a network that does not repeat the bundle's example.
    """
    inputs, expected = bundle.example()
    network = frozen(with_factors_of(network, bundle))
    graph = checked_graph(network, inputs, bundle.meta.symmetries, bundle.meta.name)
    run = onnx_runner(graph)
    difference = repeat_example(bundle, lambda x: run(x) | {name: expected[name] for name in changed})
    meta = bundle.meta.model_copy(update={"graph_commit": git_commit(), "made_with": made_with()})
    extra = {name: (bundle.folder / name).read_bytes() for name in bundle.meta.files if name == "model.ts"}
    return write_over(bundle.folder, meta, graph, inputs, runner(network, meta.task)(inputs), extra), difference


def with_measurements(bundle: Bundle, measurements: tuple[Measurement, ...]) -> Bundle:
    """Write a bundle again with other measurements on its card; the graph and its example stay as they are."""
    meta = bundle.meta.model_copy(update={"measurements": measurements})
    extra = {name: (bundle.folder / name).read_bytes() for name in bundle.meta.files if name == "model.ts"}
    return write_over(bundle.folder, meta, bundle.model.read_bytes(), *bundle.example(), extra)
