"""The service's settings: environment variables named CHIRON_*, or a `.env` file; the command line overrides them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator may choose. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="CHIRON_", env_file=".env", extra="ignore", frozen=True)

    host: str = Field(
        default="127.0.0.1", description="address to listen on; any but this machine's own needs api_keys"
    )
    port: int = Field(default=8000, ge=0, le=65535)
    bundles: Path = Field(default=Path("bundles"), description="folder with one bundle a subfolder")
    default_model: str | None = Field(
        default=None, description="model for requests of its kind that name none; else the first by name"
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="comma-separated keys, each as it is sent or as sha256:<64 hex digits>; empty: no key is asked",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="cuda refuses to fall back to the CPU")
    slots: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="calls of one model at a time, and scans being read; default: cores, or 2 on a GPU",
    )
    max_batch: int | None = Field(
        default=None, ge=1, le=256, description="default: 1 on a CPU, measured at start on a GPU"
    )
    max_body_bytes: int = Field(default=4 << 20, ge=1024, description="largest request body without a scan")
    max_scan_bytes: int = Field(default=64 << 20, ge=1024, description="largest body that carries a scan")
    max_uploads_bytes: int = Field(
        default=512 << 20, ge=1024, description="of scans that are being read at a time, all requests together"
    )
    max_queue: int = Field(default=1024, ge=1, description="most requests waiting for one model")
    deadline_s: float = Field(default=5.0, gt=0, description="longest a request may wait before it is computed")
    max_gap_s: float = Field(
        default=0.25, gt=0, description="longest time between seen frames of a hand that is interpolated"
    )
    drain_delay_s: float = Field(default=0.0, ge=0, description="time between being told to stop and closing the port")
    state: Path = Field(default=Path("state"), description="folder of jobs, trained versions and the embedded broker")
    registry: str | None = Field(
        default=None,
        description="of trained versions: a folder, or an fsspec URL (s3://bucket/prefix); default: in the state folder",
    )
    database_url: str | None = Field(default=None, description="of the job table; default: SQLite in the state folder")
    redis_url: str | None = Field(default=None, description="of the broker; default: one started in the state folder")
    data: Path = Field(default=Path("../shared/data"), description="what workers train and measure on")
    data_root: Path | None = Field(
        default=None, description="folder under which folders may be registered as data sets; default: none may"
    )
    max_dataset_bytes: int = Field(
        default=1 << 30, ge=1024, description="of an uploaded data set, packed, and again unpacked"
    )
    lease_s: float = Field(default=15.0, gt=0, description="time without a sign of life after which a worker is lost")
    reconcile_s: float = Field(default=1.0, gt=0, description="time between looks for lost jobs and new versions")
    resend_s: float = Field(
        default=30.0, gt=0, description="time after which a waiting job the broker forgot is resent"
    )
    job_limit_s: float = Field(default=24 * 3600.0, gt=0, le=5 * 24 * 3600, description="longest a job may run")
    jobs_a_process: int = Field(default=1, ge=1, description="after so many a worker starts a fresh process")
    training_threads: int = Field(default=1, ge=1, le=256, description="CPU threads of a job")

    @property
    def database(self) -> str:
        """The URL of the job table."""
        return self.database_url or f"sqlite:///{self.state.absolute() / 'jobs.db'}"

    @property
    def jobs(self) -> Path:
        """Where jobs keep what they make: <id>/<attempt>/."""
        return self.state / "jobs"

    @property
    def datasets(self) -> Path:
        """Where uploaded data sets are."""
        return self.state / "datasets"

    @property
    def versions(self) -> Path:
        """Where trained versions of models are, if `registry` does not say."""
        return self.state / "models"

    @property
    def versions_cache(self) -> Path:
        """Where copies are of versions that are elsewhere."""
        return self.state / "cache"

    @field_validator("api_keys", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return tuple(key.strip() for key in value.split(",") if key.strip()) if isinstance(value, str) else value
