"""/datasets: folders of the server and uploaded archives that jobs may be trained on, once their loader has read them."""

import asyncio
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from models.contract.spec import DATASET_NAME
from service.http.negotiation import content_type, read_body
from service.http.problems import Problem, documented
from service.jobs import archives
from service.jobs.datasets import (
    Dataset,
    DatasetExists,
    folder_under,
    new_folder,
)
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
    name: str
    folder: str


class DatasetInfo(BaseModel):
    name: str
    source: Literal["folder", "upload"]
    state: Literal["checking", "ready", "refused"] = Field(description="ready: jobs may be trained on it")
    reason: str | None = Field(description="why it was refused")
    counts: dict[str, Any] | None = Field(description="recordings, by part of the data folder, source and split")
    job: str = Field(description="the job in which its loader read it; GET /jobs/{id}")
    created_at: float


class DatasetList(BaseModel):
    datasets: list[DatasetInfo]


def router(service: JobService, settings: Settings) -> APIRouter:
    """The routes, over these data sets."""
    routes = APIRouter(tags=["datasets"])

    async def aside(function: Callable[[], T]) -> T:
        return await asyncio.to_thread(function)

    @routes.get("/datasets", response_model=DatasetList, responses=documented("jobs-unavailable"))
    async def datasets() -> DatasetList:
        """Every data set, with how many recordings its loader has read."""
        return DatasetList(datasets=[_info(one) for one in await aside(lambda: service.datasets.datasets())])

    @routes.get(
        "/datasets/{name}", response_model=DatasetInfo, responses=documented("unknown-dataset", "jobs-unavailable")
    )
    async def dataset(name: str) -> DatasetInfo:
        """One of them; of one that was refused, why."""
        return _info(await aside(lambda: service.datasets.get(name)))

    @routes.post(
        "/datasets",
        status_code=202,
        response_model=DatasetInfo,
        responses=documented(*ERRORS),
        openapi_extra=_operation(),
    )
    async def register(request: Request, response: Response) -> DatasetInfo:
        """Register a folder under the server's allowed root, or upload a .zip, laid out as the data folder is.

        An archive may hold plain files only: no links, no paths out of it, no pickles. No job may use a data set before
        its loader has read all of it, which is a job of its own.
        """
        media = content_type(request, (JSON, ZIP))
        if media == JSON:
            asked = _folder_request(bytes(await read_body(request, MAX_REQUEST_BYTES)))
            name = _name(asked.name, "/name")
            job = await aside(lambda: service.register(name, under_root(asked.folder), "folder"))
        else:
            name = _name(request.query_params.get("name", ""), "?name")
            job = await uploaded(request, name)
        response.headers["location"] = f"/datasets/{name}"
        assert job.kind == "check"
        return _info(await aside(lambda: service.datasets.get(name)))

    @routes.delete(
        "/datasets/{name}",
        status_code=204,
        response_class=Response,
        responses=documented("unknown-dataset", "wrong-state", "jobs-unavailable"),
    )
    async def remove(name: str) -> None:
        """Remove a data set: an uploaded one with its files, of a registered folder only the registration.

        Not while a job that waits or runs uses it. Jobs that used it keep what they say of it; its name is free again.
        """
        await aside(lambda: service.remove(name))

    def under_root(asked: str) -> Path:
        return folder_under(settings.data_root, asked, settings.datasets)

    def free(name: str) -> None:
        if any(known.name == name for known in service.datasets.datasets()):
            raise DatasetExists(f"there is a data set {name!r}; a data set is never changed")

    async def uploaded(request: Request, name: str) -> Any:
        target = new_folder(settings.datasets, name)

        def store(archive: Path) -> Any:
            archives.unpack(archive, target, settings.max_dataset_bytes)
            try:
                return service.register(name, target, "upload")
            except BaseException:  # and raised again: nothing half is left
                shutil.rmtree(target, ignore_errors=True)
                raise

        await aside(lambda: free(name))  # before a gigabyte is sent; and is there a table at all
        archive = settings.datasets.absolute() / f".{uuid.uuid4().hex}.zip"
        try:
            await _receive(request, archive, settings.max_dataset_bytes)
            return await aside(lambda: store(archive))
        except OSError as error:
            raise Problem("disk-full", f"the archive could not be kept: {error.strerror}") from error
        finally:
            archive.unlink(missing_ok=True)

    return routes


async def _receive(request: Request, archive: Path, max_bytes: int) -> None:
    """The body into a file. Raises the problem body-too-large."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise Problem("body-too-large", f"wanted at most {max_bytes} bytes; {announced} were announced")
    archive.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open("xb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise Problem("body-too-large", f"wanted at most {max_bytes} bytes; more came")
            await asyncio.to_thread(file.write, chunk)


def _folder_request(body: bytes) -> FolderRequest:
    try:
        return msgspec.json.decode(body, type=FolderRequest)
    except msgspec.ValidationError as error:
        raise Problem.at("invalid-request", "", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("malformed-body", f"the body is no JSON: {str(error)[:200]}") from None


def _name(asked: str, pointer: str) -> str:
    if len(asked) > 64 or not re.fullmatch(DATASET_NAME, asked):
        raise Problem.at("invalid-request", pointer, "wanted a name of small letters, digits, - and _")
    return asked


def _info(dataset: Dataset) -> DatasetInfo:
    return DatasetInfo(**{name: value for name, value in vars(dataset).items() if name != "path"})


def _operation() -> dict[str, Any]:
    """What FastAPI cannot see of a route that reads its own body."""
    (schema,), definitions = msgspec.json.schema_components([FolderRequest])
    folder = definitions[schema["$ref"].rpartition("/")[2]]
    content = {JSON: {"schema": folder}, ZIP: {"schema": {"type": "string", "format": "binary"}}}
    name = {
        "name": "name", "in": "query", "required": False, "schema": {"type": "string", "maxLength": 64},
        "description": f"of an upload ({ZIP})",
    }  # fmt: skip
    return {"requestBody": {"required": True, "content": content}, "parameters": [name]}
