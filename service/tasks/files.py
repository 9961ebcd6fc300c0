"""An endpoint over files: which files go in, where answers and pictures go, and one line for each file that failed."""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from models.contract import gzipped
from models.contract.bundle import BadBundle, Bundle, BundleMeta, read_bundle, repeat_example
from models.contract.preference import preference
from models.contract.symmetry import Tensors
from models.pictures.page import NoMatplotlib, UnknownFormat, check_drawable
from service.http.problems import Problem
from service.inference.predictor import Predictor, ProviderUnavailable
from service.settings import Settings
from service.tasks.endpoint import Body, Endpoint, Limits, call, run

MAX_BYTES, MAX_POINTS = 2 << 30, 50_000_000  # of a user's own file; a server accepts less
STDIN = Path("-")
INFLATION = {gzipped.InflatedTooLarge: "body-too-large", gzipped.BadGzip: "malformed-body"}


class UsageError(Exception):
    """A command that cannot be carried out as it was given."""


USAGE_ERRORS = (UsageError, BadBundle, ProviderUnavailable, NoMatplotlib, UnknownFormat)
FILE_ERRORS = (Problem, OSError, *USAGE_ERRORS)


@dataclass(frozen=True)
class Work:
    """One file, `-` for standard input, with the paths of its answer (None: it is printed), picture and aligned copy."""

    source: Path
    suffix: str  # of its format
    output: Path | None
    picture: Path | None
    aligned: Path | None

    @property
    def name(self) -> str:
        return "standard input" if self.source == STDIN else str(self.source)


class LocalModels:
    """The bundles of an endpoint's kinds of task in a folder, each opened when it is first needed."""

    def __init__(self, settings: Settings, kinds: Sequence[str]) -> None:
        self._settings, self._kinds = settings, tuple(kinds)
        self._opened: dict[str, tuple[BundleMeta, Callable[[Tensors], Tensors]]] = {}

    def open(self, name: str | None) -> tuple[BundleMeta, Callable[[Tensors], Tensors]]:
        """Return a model and the function that runs it; without a name, the model that the service would choose.

        The model is verified as the service does it: checksums and example. Raises UsageError, BadBundle and
        ProviderUnavailable.
        """
        chosen = name or self._default
        if chosen not in self._opened:
            bundle = self._bundle(chosen)
            predictor = Predictor(bundle, self._settings.device)
            repeat_example(bundle, predictor.run)
            self._opened[chosen] = bundle.meta, predictor.run
        return self._opened[chosen]

    @cached_property
    def _folder(self) -> tuple[dict[str, Bundle], dict[str, BadBundle]]:
        """Return the bundles of the kinds, and the broken ones of any kind, by name."""
        folder = self._settings.bundles
        if not folder.is_dir():
            raise UsageError(f"expected a folder of bundles, got no folder {folder}; give --bundles or CHIRON_BUNDLES")
        bundles: dict[str, Bundle] = {}
        broken: dict[str, BadBundle] = {}
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                try:
                    bundle = read_bundle(path)
                except BadBundle as error:
                    broken[path.name] = error
                else:
                    if bundle.meta.task.kind in self._kinds:
                        bundles[bundle.meta.name] = bundle
        return bundles, broken

    @property
    def _default(self) -> str:
        bundles, broken = self._folder
        if not bundles:
            raise UsageError(
                "; ".join([f"no {self._kinds[0]} model in {self._settings.bundles}", *map(str, broken.values())])
            )
        configured = self._settings.default_model
        first = min(self._kinds.index(bundle.meta.task.kind) for bundle in bundles.values())
        preferred = [name for name in bundles if bundles[name].meta.task.kind == self._kinds[first]]
        return configured if configured in bundles else min(preferred, key=lambda name: preference(bundles[name].meta))

    def _bundle(self, name: str) -> Bundle:
        bundles, broken = self._folder
        if name in broken:
            raise broken[name]
        if name not in bundles:
            names = ", ".join(bundles) or "none"
            raise UsageError(f"no {self._kinds[0]} model {name!r} in {self._settings.bundles}; there are: {names}")
        return bundles[name]


def plan(
    endpoint: Endpoint,
    inputs: Sequence[Path],
    *,
    output: str | None,
    plot: str | None = None,
    aligned: str | None = None,
    form: str | None,
    to: str,
) -> list[Work]:
    """Return the work to do, checked as far as possible before anything is read or written.

    `inputs` are files, folders and `-`; `form` is their format, None if their suffixes tell it. `output`, `plot` and `aligned` are files if
    there is one input, or folders, in which answers have the format `to`. Raises UsageError, NoMatplotlib and UnknownFormat.
    """
    if form is not None and f".{form}" not in endpoint.reads():
        known = ", ".join(suffix[1:] for suffix in endpoint.reads())
        raise UsageError(
            f"expected --format of the input to be one of {known}, got {form}; --to is that of the answers"
        )
    sources = [source for path in inputs for source in _sources(endpoint, path)]
    for option, text in (("-o", output), ("--plot", plot), ("--aligned", aligned)):
        needed = option == "-o" or text is not None
        if len(sources) > 1 and needed and not _is_folder(text):
            given = "none" if text is None else text
            raise UsageError(f"expected a folder for {len(sources)} files, {option} FOLDER{os.sep}, got {given}")
    works = []
    for source in sources:
        suffix = gzipped.suffix_of(source.name)
        stem = "stdin" if source == STDIN else source.name[: len(source.name) - len(suffix)]
        if source.is_dir():  # of frames
            stem = source.resolve().name
        targets = (
            _target(text, stem, end) for text, end in ((output, f".{to}"), (plot, ".png"), (aligned, ".aligned.ply"))
        )
        own = ".json" if source == STDIN or source.is_dir() else _format_of(source)
        works.append(Work(source, f".{form}" if form else own, *targets))
    by_stem: dict[str, Path] = {}
    for work in works:
        stem = work.output.stem if work.output else ""
        if len(works) > 1 and (other := by_stem.setdefault(stem, work.source)) is not work.source:
            raise UsageError(f"{other} and {work.source} would both be written to {work.output}; rename one of them")
        if work.output is not None and answer_suffix(endpoint, work.output) not in endpoint.writes:
            raise UsageError(f"expected an answer file ending in {', '.join(endpoint.writes)}, got {work.output.name}")
        if work.picture is not None:
            check_drawable(work.picture)
        if work.aligned is not None and work.aligned.suffix.lower() != ".ply":
            raise UsageError(f"expected an aligned copy ending in .ply, got {work.aligned.name}")
        targets = [(work.output, output), (work.picture, plot), (work.aligned, aligned)]
        for path, text in targets:
            if path is not None:
                _check_target(path, work.source, in_folder=_is_folder(text))
        paths = [path for path, _ in targets if path is not None]
        if len(set(paths)) < len(paths):
            raise UsageError(f"expected different files for the answer, the picture and the copy, got {paths[0]} twice")
    return works


def process(
    endpoint: Endpoint, work: Work, models: LocalModels, options: Mapping[str, Any], limits: Limits
) -> tuple[bytes, Sequence[str]]:
    """Process one file; return the answer in the format of its output, which is written if it has one, and the warnings about it.

    Raises an error of FILE_ERRORS.
    """
    if work.suffix not in endpoint.reads():
        formats = ", ".join(endpoint.reads())
        detail = f"expected a file ending in {formats}, got {work.suffix or 'no suffix'}; or give its --format"
        raise Problem("unsupported-media-type", detail)
    suffix = ".json" if work.output is None else answer_suffix(endpoint, work.output)
    body = Body(
        _read(work.source),
        endpoint.reads()[work.suffix],
        endpoint.writes[suffix],
        options,
        suffix=work.suffix,
        keep=work.picture is not None or work.aligned is not None,
    )
    result, model = run(endpoint, body, models.open, limits)
    content = call(endpoint.raised, endpoint.encode, result, model, body.answer).content
    if work.output is not None:
        work.output.parent.mkdir(parents=True, exist_ok=True)
        work.output.write_bytes(content)
    if work.picture is not None:
        assert endpoint.draw is not None, "a command without pictures has no option --plot"
        work.picture.parent.mkdir(parents=True, exist_ok=True)
        endpoint.draw(result, model, work.picture, work.source.name)
    if work.aligned is not None:
        assert endpoint.align is not None, "a command without aligned copies has no option --aligned"
        work.aligned.parent.mkdir(parents=True, exist_ok=True)
        work.aligned.write_bytes(endpoint.align(result, model))
    return content, endpoint.warnings(result)


def answer_suffix(endpoint: Endpoint, path: Path) -> str:
    """Return the longest suffix of answers that a file's name has, such as .mrk.json, or its own suffix if it has none of them."""
    known = (suffix for suffix in endpoint.writes if path.name.lower().endswith(suffix))
    return max(known, key=len, default=path.suffix.lower())


def sentence(error: BaseException, name: str = "") -> str:
    """Return an expected error as one line, which begins with the name of its file."""
    if isinstance(error, OSError) and error.strerror:
        name, text = str(error.filename or name), error.strerror
    else:
        text = " ".join((error.detail if isinstance(error, Problem) else str(error)).split())
    if missing := re.search(r"missing required field `(\w+)`", text):
        text = f"{text}; give --{missing[1]}"
    return f"{name}: {text}" if name else text


def _sources(endpoint: Endpoint, path: Path) -> list[Path]:
    """Return the files that an input stands for: itself, or the files of a folder that the endpoint reads.

    A folder of files that have one frame each stands for itself.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and _format_of(file) in endpoint.reads())
    if not files:
        raise UsageError(f"expected files ending in {', '.join(endpoint.reads())} in {path}{os.sep}, got none")
    if endpoint.one_a_frame and all(file.name.endswith(endpoint.one_a_frame) for file in files):
        return [path]
    return files


def _format_of(path: Path) -> str:
    """Return the suffix that determines a file's format, without .gz."""
    return gzipped.suffix_of(path.name).removesuffix(gzipped.SUFFIX)


def _is_folder(text: str | None) -> bool:
    return text is not None and (text.endswith(("/", os.sep)) or Path(text).is_dir())


def _target(text: str | None, stem: str, suffix: str) -> Path | None:
    if text is None or not _is_folder(text):
        return None if text is None else Path(text)
    return Path(text) / f"{stem}{suffix}"


def _check_target(target: Path, source: Path, *, in_folder: bool) -> None:
    """Raise UsageError unless `target` can be written; a folder that does not exist yet is made."""
    if not in_folder and not target.parent.is_dir():
        raise UsageError(f"no folder {target.parent} for {target.name}")
    if target.is_dir():
        raise UsageError(f"expected a file, got the folder {target}")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} would overwrite its own input; choose another name")


def _read(source: Path) -> bytes:
    """Return the contents of a file, of standard input, or of a folder of frames, inflated if they begin like gzip.

    Raises OSError, malformed-body if they are not gzip after all, and body-too-large beyond MAX_BYTES.
    """
    files = [source]
    if source == STDIN:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
        size = len(data)
    else:
        files = sorted(source.glob("*.json"), key=_frame_key) if source.is_dir() else files
        size = sum(file.stat().st_size for file in files)
        parts = [file.read_bytes() for file in files] if size <= MAX_BYTES else [b""]
        data = b"[" + b",".join(parts) + b"]" if source.is_dir() else parts[0]
    if size > MAX_BYTES:
        raise Problem("body-too-large", f"expected a file of at most {MAX_BYTES} bytes, got {size}")
    if not data.startswith(gzipped.MAGIC):
        return data
    return call(INFLATION, gzipped.inflate, data, MAX_BYTES)


def _frame_key(file: Path) -> list[str | int]:
    """Return a key that sorts names by the numbers in them, whether or not these have leading zeros."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", file.name)]
