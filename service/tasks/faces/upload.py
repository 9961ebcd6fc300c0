"""A scan and its options out of a request or a file.

The scan is the body, or the only file of a form. Options are query parameters, or fields of the form. python-multipart
parses a form from bytes that are in memory and counted, with limits on parts, headers and fields; nothing is written to
disk.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from models.contract import gzipped
from models.scans.files import FORMATS, formats
from service.http.negotiation import JSON, NPZ, typed
from service.http.problems import Problem
from service.tasks.batch import Batch, Item
from service.tasks.endpoint import Body
from service.tasks.faces.schemas import FaceOptions, Heatmaps
from service.tasks.fields import MAX_FILENAME

PLY, CSV, FORM, OCTETS, TEXT = (
    "model/vnd.ply", "text/csv", "multipart/form-data", "application/octet-stream", "text/plain"
)  # fmt: skip
GZIPS = ("application/gzip", "application/x-gzip")
OBJ, GLTF = "model/obj", "model/gltf+json"
MRK, FCSV = "application/vnd.slicer.mrk+json", "text/x-fcsv"  # point lists of 3D Slicer, which has registered no types
SUFFIXES = {media: format.suffixes[0] for format in FORMATS for media in format.media_types}
TYPES = (
    OCTETS,
    TEXT,
    *GZIPS,
    *SUFFIXES,
    FORM,
)  # the first do not determine the format: a name does, or TEXT is a table
CARRIES: dict[Heatmaps, tuple[str, ...]] = {
    "none": (JSON, NPZ, PLY, OBJ, CSV, MRK, FCSV),
    "points": (JSON, NPZ),
    "full": (NPZ,),
}
MAX_FIELD_BYTES, MAX_HEADERS, MAX_HEADER_BYTES = 256, 8, 1024
OPTIONS = FaceOptions.__struct_fields__


@dataclass(frozen=True)
class Upload:
    """A scan file and the options of its request."""

    data: bytes
    suffix: str
    options: FaceOptions
    form_fields: frozenset[str] = frozenset()  # the options that came as fields of a form
    keep: bool = False  # the whole scan, for a picture or an aligned copy

    @property
    def model(self) -> str | None:
        return self.options.model or None

    def pointer(self, name: str) -> str:
        """Return the pointer to the option `name`, whether the request has it or not."""
        return f"{'/' if name in self.form_fields else '?'}{name}"


class File(NamedTuple):
    """A part of a form with a filename."""

    data: bytearray
    name: str
    media: str


def decode(body: Body) -> Upload:
    """Return the scan and its options. Raises malformed-body, invalid-request and unsupported-media-type."""
    upload = _of_form(body) if body.media == FORM else _of_body(body)
    heatmaps, carriers = upload.options.heatmaps, CARRIES[upload.options.heatmaps]
    if body.answer not in carriers:
        detail = f"expected an answer as {' or '.join(carriers)} for heatmaps={heatmaps}, got Accept: {body.answer}"
        raise Problem.at("invalid-request", upload.pointer("heatmaps"), detail)
    if upload.options.aligned and body.answer != PLY:
        detail = f"expected Accept: {PLY} for an aligned copy of the scan, got {body.answer}"
        raise Problem.at("invalid-request", upload.pointer("aligned"), detail)
    return upload


def _of_body(body: Body) -> Upload:
    options = _options(body.options, "?")
    return Upload(body.data, body.suffix or _suffix(options, body.media, "?"), options, keep=body.keep)


def _of_form(body: Body) -> Upload:
    form = Form(body.content_type)
    form.parse(body.data)
    fields, file = form.values(body.options), form.first_file()
    query = _options(body.options, "?")
    values = fields if "filename" in body.options else {"filename": file.name, **fields}
    own = _options(values, "/")
    options = msgspec.structs.replace(query, **{name: getattr(own, name) for name in values})
    media = "" if _named(options) else file.media  # clients guess it from the name, and know some names wrongly
    return Upload(bytes(file.data), _suffix(options, media, "/"), options, frozenset(fields))


def split_form(body: Body) -> Batch:
    """Return the files of a form, each with the options of all. Raises malformed-body and invalid-request."""
    form = Form(body.content_type, math.inf)
    form.parse(body.data)
    fields = form.values(body.options)
    form.first_file()
    options = {**fields, **body.options}
    items = [Item(file.data, *_as_body(file, options)) for file in form.files]
    at = "/model" if "model" in fields else "?model"
    return Batch(items, options.get("model") or None, at, replace(body, data=b""), len(body.data))


def _as_body(file: File, options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the media type and the options with which a file of a form is a request of its own."""
    named = {"filename": file.name, **options}
    telling = not gzipped.suffix_of(named["filename"]) and file.media in (*SUFFIXES, *GZIPS, TEXT)
    return file.media if telling and "format" not in options else OCTETS, named


def _options(values: Mapping[str, Any], prefix: str) -> FaceOptions:
    """Return the options in their types. Raises invalid-request, with pointers that begin with `prefix`."""
    return typed(msgspec.convert, dict(values), type=FaceOptions, strict=False, mark=prefix)


def _suffix(options: FaceOptions, media: str, prefix: str) -> str:
    """Return the scan's format, by its name or by the media type. Raises invalid-request if these disagree or do not determine it."""
    by_name, by_media = _named(options), SUFFIXES.get(media, "")
    if by_name and by_media and formats().get(by_name) is not formats()[by_media]:
        pointer = f"{prefix}{'format' if options.format else 'filename'}"
        detail = f"expected the same format here and in the Content-Type, got {by_name} and {media}"
        raise Problem.at("invalid-request", pointer, detail)
    if suffix := by_name or by_media or (".txt" if media == TEXT else ""):
        return suffix
    known = ", ".join(suffix[1:] for suffix in formats())
    detail = f"expected the scan's format, one of {known}, got neither a format, a filename nor a telling Content-Type"
    raise Problem.at("invalid-request", f"{prefix}format", detail)


def _named(options: FaceOptions) -> str:
    """Return the suffix by `format` or, without it, by `filename`, without .gz; empty if neither has one."""
    values = f".{options.format.lower().lstrip('.')}" if options.format else gzipped.suffix_of(options.filename)
    return values.removesuffix(gzipped.SUFFIX)


class Form:
    """The parts of a multipart/form-data body: at most `most` files, and some short fields."""

    def __init__(self, content_type: str, most: float = 1) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise Problem("malformed-body", f"expected a Content-Type of {FORM} with a boundary, got none")
        self.boundary, self.most = boundary, most
        self.files: list[File] = []
        self.fields: list[tuple[str, str]] = []
        self._complete = False
        self._header, self._value, self._headers = bytearray(), bytearray(), dict[bytes, bytes]()
        self._data = bytearray()
        self._name: str | None = None  # of the field that is being read; None for the file

    def parse(self, body: bytes) -> None:
        """Read the parts of the form. Raises malformed-body and invalid-request."""
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._part_data,
            "on_part_end": self._end,
            "on_end": self._last,
        }
        try:
            parser = MultipartParser(
                self.boundary,
                callbacks,  # pyright: ignore[reportArgumentType] - a TypedDict, and every key is in it
                max_header_count=MAX_HEADERS,
                max_header_size=MAX_HEADER_BYTES,
            )
            parser.write(body)
            parser.finalize()
        except FormParserError as error:
            raise Problem("malformed-body", f"the form cannot be parsed: {str(error)[:80]}") from None
        if not self._complete:
            raise Problem("malformed-body", "expected a form up to its last boundary, got a part of it")

    def values(self, query: Mapping[str, Any]) -> dict[str, str]:
        """Return the fields. Raises invalid-request for one that is there twice, or in the query too.

        An option that is empty is left out: that is how browsers send a field that nobody has filled in.
        """
        fields: dict[str, str] = {}
        for name, value in self.fields:
            if not value and name in OPTIONS:
                continue
            if name in fields:
                raise Problem.at("invalid-request", f"/{name[:80]}", "expected one value, got several; send it once")
            fields[name] = value
        if repeated := sorted(set(fields) & set(query)):
            detail = "expected a form field or a query parameter, got both"
            raise Problem.at("invalid-request", f"/{repeated[0]}", detail)
        return fields

    def first_file(self) -> File:
        """Return the first file. Raises invalid-request if there is none."""
        if not self.files:
            names = ", ".join(name[:40] for name, _ in self.fields) or "nothing"
            raise Problem.at("invalid-request", "/file", f"expected one part with a filename, the scan, got {names}")
        return self.files[0]

    def _begin(self) -> None:
        self._headers = {}
        self._data = bytearray()

    def _header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise Problem(
                "malformed-body", "expected Content-Disposition: form-data with a name in every part of the form"
            )
        if b"filename" not in options:
            self._name = options[b"name"].decode("utf-8", "replace")
            if len(self.fields) >= len(OPTIONS):
                raise Problem.at("invalid-request", "", f"expected at most {len(OPTIONS)} fields, got more")
            return
        if len(self.files) >= self.most:
            raise Problem.at("invalid-request", "/file", "expected one file, got a second")
        self._name = None
        name = options[b"filename"].decode("utf-8", "replace")[-MAX_FILENAME:]
        media = self._headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        self.files.append(File(self._data, name, media))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name is not None and len(self._data) + end - start > MAX_FIELD_BYTES:
            detail = f"expected at most {MAX_FIELD_BYTES} bytes in a field, got more"
            raise Problem.at("invalid-request", f"/{self._name[:80]}", detail)
        self._data += data[start:end]

    def _end(self) -> None:
        if self._name is not None:
            self.fields.append((self._name, self._data.decode("utf-8", "replace")))

    def _last(self) -> None:
        self._complete = True
