"""The service's settings: environment variables named CHIRON_*, or a `.env` file; the command line overrides them."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "CHIRON_"
OTHER_VARIABLES = frozenset(
    {"CHIRON_GIT_COMMIT", "CHIRON_METRICS_KEY", "CHIRON_REQUIRE_DATA", "CHIRON_WORKER_NAME", "CHIRON_WORKER_STOP_FILE"}
)
HASHED_KEY = "sha256:"


class Settings(BaseSettings):
    """The choices of an operator. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    host: str = Field(
        default="127.0.0.1", description="address to listen on; any but this machine's own requires api_keys"
    )
    port: int = Field(default=8000, ge=0, le=65535)
    bundles: Path = Field(default=Path("bundles"), description="folder with one bundle a subfolder")
    default_model: str | None = Field(
        default=None, description="model for requests of its kind that name none; else the one that is best by its card"
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="comma-separated keys, in clear or as sha256:<64 hex digits>; empty: no key is required",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto falls back to the CPU and reports it; cuda refuses to"
    )
    keys_file: Path | None = Field(
        default=None, description="file of keys made by `chiron keys`; default: keys.json in the state folder"
    )
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="comma-separated names that a Host header may have; * is any; default: names of this machine, or any with keys",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="comma-separated origins whose pages may call the service; * is any"
    )
    root_path: str = Field(
        default="",
        pattern=r"|/[\w./-]*[\w-]",
        description="path prefix under which a proxy serves this, such as /chiron",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="comma-separated addresses or networks whose X-Forwarded-For and -Proto are believed"
    )
    tls_cert: Path | None = Field(
        default=None, description="certificate chain in PEM; with tls_key the port speaks TLS"
    )
    tls_key: Path | None = Field(default=None, description="private key of tls_cert in PEM")
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="of each key, or of each client without one; default: no limit"
    )
    max_requests_in_flight: int | None = Field(
        default=None, ge=1, description="of each key, or of each client without one; default: no limit"
    )
    max_bytes_in_flight: int | None = Field(
        default=None, ge=1, description="of the bodies of each key, or of each client without one; default: no limit"
    )
    slots: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="concurrent calls of one model, and of scans being read; default: the CPUs that may be used, or 2 on a GPU",
    )
    max_batch: int | None = Field(
        default=None, ge=1, le=256, description="items of one call of a model; default: measured at start"
    )
    max_body_bytes: int = Field(default=4 << 20, ge=1024, description="largest request body without a scan")
    max_scan_bytes: int = Field(default=64 << 20, ge=1024, description="largest body that carries a scan")
    max_items: int = Field(default=1024, ge=1, description="most clips or scans of one request for many")
    max_items_bytes: int = Field(default=48 << 20, ge=1024, description="largest body of such a request")
    max_memory_bytes: int = Field(
        default=1 << 30, ge=1024, description="memory of request bodies and their contents, all requests together"
    )
    body_pause_s: float = Field(default=10.0, gt=0, description="longest pause between two parts of a body")
    body_s: float = Field(default=120.0, gt=0, description="longest time that a whole body may take to arrive")
    decoders: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="processes that read large bodies and scans; default: the CPUs that may be used; 0: threads instead",
    )
    max_client_connections: int = Field(
        default=256, ge=1, description="connections of one client address; trusted proxies have no limit"
    )
    max_streams: int = Field(default=64, ge=0, description="streams of forecasts that are open at a time; 0: none")
    stream_idle_s: float = Field(
        default=30.0, gt=0, description="longest time without a frame, or for a client to take an answer, in a stream"
    )
    max_queue: int = Field(default=1024, ge=1, description="most requests that wait for one model")
    deadline_s: float = Field(default=5.0, gt=0, description="longest a request may wait before it is computed")
    max_gap_s: float = Field(
        default=0.25, gt=0, description="longest gap between seen frames of a hand that is interpolated"
    )
    log_requests: bool = Field(default=True, description="one line of the log for each request")
    drain_delay_s: float = Field(default=0.0, ge=0, description="time from SIGTERM until the port is closed")
    state: Path = Field(default=Path("state"), description="folder of jobs, trained versions and the embedded broker")
    registry: str | None = Field(
        default=None,
        description="trained versions: a folder, or an fsspec URL (s3://bucket/prefix); default: in the state folder",
    )
    database_url: str | None = Field(default=None, description="the job table; default: SQLite in the state folder")
    redis_url: str | None = Field(default=None, description="the broker; default: one started in the state folder")
    data: Path = Field(default=Path("../shared/data"), description="data that workers train and measure on")
    data_root: Path | None = Field(
        default=None, description="folder below which folders may be registered as data sets; default: none may"
    )
    max_dataset_bytes: int = Field(
        default=1 << 30, ge=1024, description="an uploaded data set, packed, and again unpacked"
    )
    lease_s: float = Field(default=15.0, gt=0, description="time without a heartbeat after which a worker is lost")
    reconcile_s: float = Field(default=1.0, gt=0, description="time between checks for lost jobs and new versions")
    resend_s: float = Field(
        default=30.0, gt=0, description="time after which a waiting job that the broker lost is sent again"
    )
    child_start_limit_s: float = Field(
        default=600.0, gt=0, description="longest time that a child process of a worker may take to start"
    )
    keep_jobs_days: float | None = Field(
        default=90.0, gt=0, description="finished jobs are removed with their artefacts after so many days"
    )
    keep_jobs: int | None = Field(default=10_000, ge=1, description="most finished jobs that are kept")
    keep_jobs_bytes: int | None = Field(
        default=None, ge=0, description="most bytes of artefacts of finished jobs; default: no limit"
    )
    keep_versions_days: float | None = Field(
        default=None, gt=0, description="trained versions are removed after so many days; default: never"
    )
    keep_versions: int | None = Field(
        default=None, ge=2, description="most trained versions of a model that are kept; default: all"
    )
    keep_cache_bytes: int | None = Field(
        default=10 << 30, ge=0, description="most bytes of copies of versions that are stored elsewhere"
    )
    min_free_bytes: int = Field(
        default=256 << 20, ge=0, description="free disk space below which new jobs and uploads are refused"
    )
    job_limit_s: float = Field(default=24 * 3600.0, gt=0, le=5 * 24 * 3600, description="longest a job may run")
    jobs_a_process: int = Field(default=1, ge=1, description="jobs after which a worker starts a fresh process")
    training_threads: int = Field(default=1, ge=1, le=256, description="CPU threads of a job")

    @property
    def keys(self) -> Path:
        """Return the path of the key file."""
        return self.keys_file or self.state / "keys.json"

    @property
    def database(self) -> str:
        """Return the URL of the job table."""
        return self.database_url or f"sqlite:///{self.state.absolute() / 'jobs.db'}"

    @property
    def jobs(self) -> Path:
        """Return the folder of the jobs' artefacts: <id>/<attempt>/."""
        return self.state / "jobs"

    @property
    def datasets(self) -> Path:
        """Return the folder of uploaded data sets."""
        return self.state / "datasets"

    @property
    def versions(self) -> Path:
        """Return the folder of trained versions, unless `registry` names another place."""
        return self.state / "models"

    @property
    def versions_cache(self) -> Path:
        """Return the folder of local copies of versions in a remote registry."""
        return self.state / "cache"

    @field_validator("api_keys", "hosts", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(key.strip() for key in value.split(",") if key.strip()) if isinstance(value, str) else value

    @field_validator("api_keys")
    @classmethod
    def _check_hashes(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for number, key in enumerate(keys, start=1):
            if key.startswith(HASHED_KEY) and not re.fullmatch("[0-9a-fA-F]{64}", key.removeprefix(HASHED_KEY)):
                raise ValueError(f"key {number} begins with {HASHED_KEY}: expected 64 hexadecimal digits after it")
        return keys


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Describe each variable named CHIRON_* that no setting reads, with the setting of the most similar name."""
    settings = {name.upper() for name in Settings.model_fields}
    messages = []
    for variable in sorted(environment):
        upper = variable.upper()  # pydantic ignores case, too
        name = upper.removeprefix(PREFIX)
        if name == upper or name in settings or upper in OTHER_VARIABLES or name.startswith("TEST_"):
            continue
        similar = get_close_matches(name, settings, n=1)
        hint = f"; did you mean {PREFIX}{similar[0]}?" if similar else ""
        messages.append(f"no setting reads the variable {variable}{hint}")
    return messages


class InvalidSettings(ValueError):
    """Settings that cannot be used; the message lists each of them with the reason."""


def read_settings(**options: object) -> Settings:
    """Return the environment's settings, overridden by the options that are not None. Raises InvalidSettings."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})  # pyright: ignore[reportArgumentType] - pydantic checks them
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InvalidSettings(f"expected valid settings, or variables CHIRON_*, got {faults}") from None
