"""The sizes and options of EqMotion that are compared: layers, channels by features, categories, and options, one changed at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.forecast.eqmotion import REFERENCE, STANDARD, EqMotionConfig
from training.engine.benchmark import markdown
from training.engine.watch import Watch
from training.tasks.hands.comparison import Budget, Comparison

RATE = 2e-3  # of every size: too many are trained for a search
SIZES = (8, 16, 32, 64)


@dataclass(frozen=True)
class Size:
    """One configuration in a section of the table; `published` are the parameters in the published table, at 60+60 frames."""

    section: str
    title: str
    config: EqMotionConfig
    published: int | None = None


LAYERS = {2: 69188, 3: 91044, 4: 112900, 5: 134756, 6: 156612, 7: 178468}
CATEGORIES = {2: 52482, 3: 60835, 4: 69188, 5: 77541, 6: 85894}
OPTIONS: Mapping[str, EqMotionConfig] = {
    "as it is (residual to the last pose, joint tokens, no DCT)": STANDARD,
    "with the DCT": replace(STANDARD, dct=True),
    "absolute poses": replace(STANDARD, residual_output=False),
    "node tokens": replace(STANDARD, tokens="node"),
    "no tokens": replace(STANDARD, tokens="none"),
    "the authors' structure": REFERENCE,
}
ALL = (
    *(Size("layers", f"L = {n}", replace(STANDARD, layers=n), size) for n, size in LAYERS.items()),
    *(
        Size("channels C and features D", f"C = {c}, D = {d}", replace(STANDARD, channels=c, hidden=d))
        for c in SIZES
        for d in SIZES
    ),
    *(Size("categories", f"K = {k}", replace(STANDARD, categories=k), size) for k, size in CATEGORIES.items()),
    *(Size("options", title, config) for title, config in OPTIONS.items()),
)


def sizes_json(comparison: Comparison, watch: Watch, *, train: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Train every configuration that lacks and return one line for each that is trained, and the titles of the others. Raises Stopped."""
    lines, missing = [], []
    for size in ALL:
        watch.check()
        figures = comparison.figures("size", size.config, 0, RATE, train=train)
        cost = comparison.cost("size", size.config, RATE, train=train, exported=False)
        if not figures or not cost:
            missing.append(f"{size.section}, {size.title}")
            continue
        lines.append({
            "section": size.section,
            "title": size.title,
            "parameters": figures.parameters,
            "published_parameters": size.published,
            "training_cpu_s": round(cost.step_s * figures.steps, 1),
            "forecast_cpu_ms": round(cost.forecast_ms, 2),
            "mpjpe_mm": {source: round(errors.mpjpe_mm, 2) for source, errors in figures.test.items()},
            "windows": {source: errors.windows for source, errors in figures.test.items()},
        })  # fmt: skip
    return lines, missing


def sizes_markdown(lines: Sequence[dict[str, Any]], budget: Budget, windows: int) -> str:
    """Return a table for each section, after a paragraph that says how little each size got."""
    parts = [
        f"EqMotion, two hands, {budget.preset}, one seed, {budget.epochs} epochs of {windows} windows, learning rate {RATE:g} without a "
        "search. That is little: differences below a few per cent are noise. The base has L = 2, C = D = 32 and K = 4, and one thing "
        "changes at a time. Errors are MPJPE in mm on some of the test windows. CPU times are of one thread, a forecast's in PyTorch."
    ]
    for section in dict.fromkeys(line["section"] for line in lines):
        own = [line for line in lines if line["section"] == section]
        sources = list(own[0]["mpjpe_mm"])
        named = [f"{source} ({own[0]['windows'][source]} windows)" for source in sources]
        header = (section, "parameters", "published, 60+60", "training, CPU s", "forecast, CPU ms", *named)
        cells = [
            (
                line["title"],
                f"{line['parameters']:,}",
                f"{line['published_parameters']:,}" if line["published_parameters"] else "-",
                f"{line['training_cpu_s']:.0f}",
                f"{line['forecast_cpu_ms']:.1f}",
                *(f"{line['mpjpe_mm'][source]:.1f}" for source in sources),
            )
            for line in own
        ]
        parts.append(markdown(header, cells))
    return "\n\n".join(parts)
