"""/datasets: register a folder or upload an archive; jobs may use it once a check job has loaded all of it."""

import asyncio
import re
import shutil
import uuid
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from models.contract.spec import DATASET_NAME
from service.http.negotiation import content_coding, content_type, read_body, typed
from service.http.problems import ACCEPTED, NO_CONTENT, Problem, documented
from service.jobs import archives
from service.jobs.datasets import (
    Dataset,
    DatasetExists,
    folder_under,
    new_folder,
)
from service.jobs.disk import check_space
from service.jobs.service import JobService
from service.settings import Settings

T = TypeVar("T")
JSON, ZIP = "application/json", "application/zip"
MAX_REQUEST_BYTES = 16 << 10
ERRORS = (
    "malformed-body", "body-too-large", "unsupported-media-type", "invalid-request", "folder-refused",
    "archive-refused", "dataset-exists", "jobs-unavailable", "disk-full",
)  # fmt: skip


class FolderRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body that registers a folder, by its path under CHIRON_DATA_ROOT."""

    name: str
    folder: str


class DatasetInfo(BaseModel):
    """A data set."""

    name: str
    source: Literal["folder", "upload"]
    state: Literal["checking", "ready", "refused"] = Field(description="ready: jobs may use it")
    reason: str | None = Field(description="the reason if it was refused")
    counts: dict[str, Any] | None = Field(description="recordings, by part of the data folder, source and split")
    job: str = Field(description="the job that checks it; GET /jobs/{id}")
    created_at: float


class DatasetList(BaseModel):
    """All data sets, by name."""

    datasets: list[DatasetInfo]


def router(service: JobService, settings: Settings) -> APIRouter:
    """Return the routes over the data sets of `service`."""
    routes = APIRouter(tags=["datasets"])

    @routes.get("/datasets", response_model=DatasetList, responses=documented("jobs-unavailable"))
    async def list_datasets() -> DatasetList:
        """List all data sets with their numbers of recordings."""
        datasets = await service.call(lambda: service.datasets.datasets())
        return DatasetList(datasets=[_info(dataset) for dataset in datasets])

    @routes.get(
        "/datasets/{name}", response_model=DatasetInfo, responses=documented("unknown-dataset", "jobs-unavailable")
    )
    async def get_dataset(name: str) -> DatasetInfo:
        """Describe one data set; for a refused one, give the reason."""
        return _info(await service.call(lambda: service.datasets.get(name)))

    @routes.post(
        "/datasets",
        status_code=ACCEPTED,
        response_model=DatasetInfo,
        responses=documented(*ERRORS),
        openapi_extra=_operation(),
    )
    async def add_dataset(request: Request, response: Response) -> DatasetInfo:
        """Register a folder under the server's allowed root, or upload a .zip, with the layout of the data folder.

        An archive may contain only plain files: no links, no absolute paths or `..`, no pickles. A job of its own then loads the whole
        data set; other jobs may use it once that job has succeeded.
        """
        media = content_type(request, (JSON, ZIP))
        content_coding(request)
        if media == JSON:
            folder = _folder_request(await read_body(request, MAX_REQUEST_BYTES))
            name = _name(folder.name, "/name")
            job = await service.call(lambda: service.register(name, under_root(folder.folder), "folder"))
        else:
            name = _name(request.query_params.get("name", ""), "?name")
            job = await uploaded(request, name)
        response.headers["location"] = f"{request.scope.get('root_path', '')}/datasets/{name}"
        assert job.kind == "check"
        return _info(await service.call(lambda: service.datasets.get(name)))

    @routes.delete(
        "/datasets/{name}",
        status_code=NO_CONTENT,
        response_class=Response,
        responses=documented("unknown-dataset", "wrong-state", "jobs-unavailable"),
    )
    async def remove_dataset(name: str) -> None:
        """Remove a data set: delete the files of an upload, but only the registration of a folder.

        This is refused while a queued or running job uses it. Finished jobs keep their records, and the name is free again.
        """
        await service.call(lambda: service.remove(name))

    def under_root(folder: str) -> Path:
        return folder_under(settings.data_root, folder, settings.datasets)

    def check_name_free(name: str) -> None:
        if any(known.name == name for known in service.datasets.datasets()):
            raise DatasetExists(f"data set {name!r} exists and cannot be changed; choose another name")

    async def uploaded(request: Request, name: str) -> Any:
        target = new_folder(settings.datasets, name)

        def store(archive: Path) -> Any:
            archives.unpack(archive, target, settings.max_dataset_bytes)
            try:
                return service.register(name, target, "upload")
            except BaseException:  # re-raised after the cleanup
                shutil.rmtree(target, ignore_errors=True)
                raise

        await service.call(lambda: check_space(settings))
        await service.call(
            lambda: check_name_free(name)
        )  # before the body is received; also finds out whether the table works
        archive = settings.datasets.absolute() / f".{uuid.uuid4().hex}.zip"
        try:
            await _receive(request, archive, settings.max_dataset_bytes)
            return await service.call(lambda: store(archive))
        except OSError as error:
            raise Problem("disk-full", f"the archive could not be stored: {error.strerror}") from error
        finally:
            archive.unlink(missing_ok=True)

    return routes


async def _receive(request: Request, archive: Path, max_bytes: int) -> None:
    """Write the request's body into a file. Raises the problem body-too-large."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise Problem("body-too-large", f"expected at most {max_bytes} bytes, got a Content-Length of {announced}")
    archive.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open("xb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise Problem("body-too-large", f"expected at most {max_bytes} bytes, got more")
            await asyncio.to_thread(file.write, chunk)


def _folder_request(body: bytes) -> FolderRequest:
    return typed(msgspec.json.decode, body, type=FolderRequest)


def _name(name: str, pointer: str) -> str:
    if len(name) > 64 or not re.fullmatch(DATASET_NAME, name):
        message = f"expected a name of 1 to 64 lower-case letters, digits, - and _, got {name[:80]!r}"
        raise Problem.at("invalid-request", pointer, message)
    return name


def _info(dataset: Dataset) -> DatasetInfo:
    return DatasetInfo(**{name: value for name, value in vars(dataset).items() if name != "path"})


def _operation() -> dict[str, Any]:
    """Return the OpenAPI parts that FastAPI cannot derive, since the route reads its own body."""
    (schema,), definitions = msgspec.json.schema_components([FolderRequest])
    folder = definitions[schema["$ref"].rpartition("/")[2]]
    content = {JSON: {"schema": folder}, ZIP: {"schema": {"type": "string", "format": "binary"}}}
    name = {
        "name": "name", "in": "query", "required": False, "schema": {"type": "string", "maxLength": 64},
        "description": f"name of an uploaded data set ({ZIP})",
    }  # fmt: skip
    return {"requestBody": {"required": True, "content": content}, "parameters": [name]}
