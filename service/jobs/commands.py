"""The work of the command `chiron prune`."""

from functools import partial

import typer

from models.contract.bundle import BadBundle
from service.jobs import artifacts
from service.jobs.database import StoreUnavailable, open_database
from service.jobs.datasets import DatasetTable, sweep
from service.jobs.retention import Retention, total_bytes
from service.jobs.table import JobTable
from service.registry.local import StoreAway
from service.registry.versions import Versions
from service.settings import read_settings


def remove_expired(yes: bool) -> None:
    """Print what the retention settings no longer keep, and remove it if `yes`. Exits with status 2 if a store does not answer."""
    settings = read_settings()
    try:
        engine = open_database(settings.database)
        table = JobTable(engine, lease_s=settings.lease_s, released=partial(artifacts.was_released, settings.jobs))
        retention = Retention(settings, table, Versions.of(settings))
        removals = retention.plan()
        for removal in removals:
            typer.echo(f"{removal.kind:8} {removal.name:40} {removal.bytes / 1e6:10.1f} MB  {removal.reason}")
        count, size = len(removals), total_bytes(removals) / 1e6
        if not yes:
            hint = "; `chiron prune --yes` removes them" if removals else ""
            typer.echo(f"{count} things of {size:.1f} MB are no longer kept{hint}")
            return
        removed = [removal for removal in removals if retention.remove(removal)]
        sweep(settings.datasets, DatasetTable(engine, table).datasets())
        typer.echo(f"{len(removed)} things of {total_bytes(removed) / 1e6:.1f} MB were removed")
    except (StoreUnavailable, StoreAway, BadBundle) as error:
        typer.echo(f"chiron: {error}", err=True)
        raise typer.Exit(2) from None
