"""The table of errors that packages raise without knowing HTTP, and the kind of problem that answers each."""

from models.contract.bundle import BadBundle
from service.jobs.archives import ArchiveRefused
from service.jobs.database import StoreUnavailable
from service.jobs.datasets import DatasetExists, FolderRefused, UnknownDataset
from service.jobs.disk import DiskLow
from service.jobs.records import KeyReused, UnknownJob, WrongState
from service.registry.local import StoreAway
from service.registry.versions import InUse, NotCurrent, UnknownVersion

RAISED: dict[type[Exception], str] = {
    UnknownJob: "unknown-job",
    WrongState: "wrong-state",
    KeyReused: "key-reused",
    StoreUnavailable: "jobs-unavailable",
    UnknownVersion: "unknown-version",
    UnknownDataset: "unknown-dataset",
    DatasetExists: "dataset-exists",
    FolderRefused: "folder-refused",
    ArchiveRefused: "archive-refused",
    NotCurrent: "wrong-state",
    InUse: "wrong-state",
    DiskLow: "disk-full",
    StoreAway: "versions-unavailable",
    BadBundle: "bundle-refused",
}
