"""What the commands that work on files have in common: which model, where to, and what can be said in a sentence."""

from pathlib import Path

from models.contract.bundle import BadBundle, Bundle, read_bundle, repeat_example
from models.motion.hands import GapTooLong, TooFewFrames
from models.pictures.page import NoMatplotlib, UnknownFormat, check_drawable
from models.scans.cloud import BadCloud
from service.http.problems import Problem
from service.inference.predictor import Predictor, ProviderUnavailable
from service.settings import Settings
from service.tasks.faces.prepare import NoFace, UnclearUnits


class Refused(Exception):
    """What a command does not do, and why: a sentence for whoever asked."""


SAID = (
    Refused, Problem, BadBundle, ProviderUnavailable, NoMatplotlib, UnknownFormat, BadCloud, UnclearUnits, NoFace,
    TooFewFrames, GapTooLong, OSError,
)  # fmt: skip


def sentence(error: BaseException, file: Path | None = None) -> str:
    """One of SAID as a line that begins with the file it is about."""
    if isinstance(error, OSError) and error.strerror:
        file, text = Path(error.filename) if error.filename else file, error.strerror
    else:
        text = " ".join((error.detail if isinstance(error, Problem) else str(error)).split())
    return text if file is None else f"{file}: {text}"


def open_model(settings: Settings, name: str | None, kind: str) -> tuple[Bundle, Predictor]:
    """The bundle of that name or, without one, the one that the service would take for this kind of task.

    It is verified as the service does it: its checksums, and that it repeats its example. Raises Refused, BadBundle.
    """
    if not settings.bundles.is_dir():
        raise Refused(f"no folder {settings.bundles} with bundles; say --bundles or set CHIRON_BUNDLES")
    found: dict[str, Bundle] = {}
    refused: dict[str, BadBundle] = {}
    for folder in sorted(settings.bundles.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            try:
                bundle = read_bundle(folder)
            except BadBundle as error:
                refused[folder.name] = error
            else:
                if bundle.meta.task.kind == kind:
                    found[bundle.meta.name] = bundle
    if name in refused:
        raise refused[name]
    if name is not None and name not in found:
        raise Refused(f"no {kind} model {name!r} in {settings.bundles}; there are {', '.join(found) or 'none'}")
    if not found:
        raise Refused("; ".join([f"no {kind} model in {settings.bundles}", *map(str, refused.values())]))
    chosen = name or (settings.default_model if settings.default_model in found else next(iter(found)))
    predictor = Predictor(found[chosen], settings.device)
    repeat_example(found[chosen], predictor.run)
    return found[chosen], predictor


def check_target(target: Path | None, source: Path, forms: tuple[str, ...], *, folder: bool = False) -> None:
    """Raises Refused unless an answer to `source` can be written to `target`, in one of the forms by its suffix.

    `folder` says that it goes into a folder that may not be there yet.
    """
    if target is None:
        return
    if target.suffix.lower() not in forms:
        raise Refused(f"answers are written as {', '.join(forms)}; came {target.name}")
    _check_place(target, source, folder)


def check_picture(picture: Path | None, source: Path, *, folder: bool = False) -> None:
    """As check_target. Raises NoMatplotlib, UnknownFormat or Refused."""
    if picture is not None:
        check_drawable(picture)
        _check_place(picture, source, folder)


def _check_place(target: Path, source: Path, folder: bool) -> None:
    if not folder and not target.parent.is_dir():
        raise Refused(f"no folder {target.parent} for {target.name}")
    if target.is_dir():
        raise Refused(f"{target} is a folder; a file was wanted")
    if target.resolve() == source.resolve():
        raise Refused(f"{target} would take the place of what it is made from")
