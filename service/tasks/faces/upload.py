"""A scan out of a request: the file's bytes, the suffix that says what kind it is, and what is asked of it.

The file is the body, or the one file part of a form; what is asked are query parameters, or the form's fields. A form is
parsed by python-multipart from bytes that are already counted, with a bound on parts, headers and fields: nothing is
written to a disk.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import msgspec
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from models.scans.files import formats
from service.http.negotiation import typed
from service.http.problems import Problem
from service.tasks.faces.schemas import FaceOptions
from service.tasks.fields import MAX_FILENAME

FORM = "multipart/form-data"
ANY = ("application/octet-stream", "text/plain")  # say nothing of the kind of file: its name must, or it is a table
SUFFIXES = {
    "model/ply": ".ply",
    "model/vnd.ply": ".ply",
    "application/ply": ".ply",
    "model/obj": ".obj",
    "model/stl": ".stl",
    "model/gltf-binary": ".glb",
    "model/gltf+json": ".gltf",
    "application/x-npy": ".npy",
    "application/x-npz": ".npz",
    "text/csv": ".csv",
}
TYPES = (*ANY, *SUFFIXES, FORM)
MAX_FIELD_BYTES, MAX_HEADERS, MAX_HEADER_BYTES = 256, 8, 1024
OPTIONS = FaceOptions.__struct_fields__


@dataclass(frozen=True)
class Upload:
    data: bytes
    suffix: str
    options: FaceOptions
    fields: frozenset[str] = frozenset()  # the options that came as fields of a form

    def pointer(self, name: str) -> str:
        """Where the option `name` is in the request, or would be."""
        return f"{'/' if name in self.fields else '?'}{name}"


def parameters(pairs: Iterable[tuple[str, str]], mark: str = "?") -> dict[str, str]:
    """Options by name, each legal by itself and there once. Raises the problem invalid-request."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise Problem.at("invalid-request", f"{mark}{name[:80]}", "is there twice")
        found[name] = value
    typed(msgspec.convert, found, type=FaceOptions, strict=False, mark=mark)
    return found


def upload_of(body: bytes, content_type: str, query: dict[str, str]) -> Upload:
    """The upload in a body of one of TYPES, with the `parameters` of its query.

    Raises the problems malformed-body, invalid-request and unsupported-media-type.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media != FORM:
        options = msgspec.convert(query, FaceOptions)
        return Upload(body, _suffix(options, media, "?"), options)
    form = _Form(content_type)
    form.parse(body)
    fields = parameters(form.fields, "/")
    if twice := sorted(set(fields) & set(query)):
        raise Problem.at("invalid-request", f"/{twice[0]}", "is a field of the form and a parameter too")
    options = msgspec.convert({"filename": form.filename} | query | fields, FaceOptions)
    if form.file is None:
        came = ", ".join(name[:40] for name, _ in form.fields) or "nothing"
        raise Problem.at("invalid-request", "/file", f"wanted one part with a filename, the scan; came {came}")
    media = form.media if not _named(options) else ""  # clients guess it from the name, and know some names wrongly
    return Upload(bytes(form.file), _suffix(options, media, "/"), options, frozenset(fields))


def _suffix(options: FaceOptions, media: str, mark: str) -> str:
    """What kind of file it is, by its name or by the media type. Raises invalid-request where these disagree, or neither says it."""
    by_name, by_media = _named(options), SUFFIXES.get(media, "")
    if by_name and by_media and formats().get(by_name) is not formats()[by_media]:
        pointer = f"{mark}{'format' if options.format else 'filename'}"
        raise Problem.at(
            "invalid-request", pointer, f"says {by_name}, and the Content-Type {media}: one of them is wrong"
        )
    if suffix := by_name or by_media or (".txt" if media == "text/plain" else ""):
        return suffix
    kinds = ", ".join(reader[1:] for reader in formats())
    raise Problem.at("invalid-request", f"{mark}format", f"wanted the kind of file, one of {kinds}: nothing says it")


def _named(options: FaceOptions) -> str:
    """The suffix by format or, without that, by filename; empty where neither has one."""
    if options.format:
        return f".{options.format.lower().lstrip('.')}"
    return PurePosixPath(options.filename.replace("\\", "/")).suffix.lower()


class _Form:
    """The parts of a multipart/form-data body: one file, and some short fields."""

    def __init__(self, content_type: str) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise Problem("malformed-body", f"{FORM} wants a boundary; its Content-Type has none")
        self.boundary = boundary
        self.file: bytearray | None = None
        self.filename, self.media = "", ""
        self.fields: list[tuple[str, str]] = []
        self._whole = False
        self._header, self._value, self._headers = bytearray(), bytearray(), dict[bytes, bytes]()
        self._data = bytearray()
        self._name: str | None = None  # of the field that is being read; None: it is the file

    def parse(self, body: bytes) -> None:
        """Raises the problems malformed-body and invalid-request."""
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
        if not self._whole:
            raise Problem("malformed-body", "the form breaks off before its last boundary")

    def _begin(self) -> None:
        self._headers = {}
        self._data = bytearray()

    def _header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise Problem("malformed-body", "a part of the form has no Content-Disposition: form-data with a name")
        if b"filename" not in options:
            self._name = options[b"name"].decode("utf-8", "replace")
            if len(self.fields) >= len(OPTIONS):
                raise Problem.at("invalid-request", "", f"wanted at most {len(OPTIONS)} fields; more came")
            return
        if self.file is not None:
            raise Problem.at("invalid-request", "/file", "wanted one file; a second came")
        self.file, self._name = self._data, None
        self.filename = options[b"filename"].decode("utf-8", "replace")[-MAX_FILENAME:]
        self.media = self._headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name is not None and len(self._data) + end - start > MAX_FIELD_BYTES:
            raise Problem.at("invalid-request", f"/{self._name[:80]}", f"a field has at most {MAX_FIELD_BYTES} bytes")
        self._data += data[start:end]

    def _end(self) -> None:
        if self._name is not None:
            self.fields.append((self._name, self._data.decode("utf-8", "replace")))

    def _last(self) -> None:
        self._whole = True
