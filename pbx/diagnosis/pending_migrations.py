"""Which migrations wait, in a few milliseconds: the files against the table. Django's own loader takes ten times as
long, and is asked only when the quick look finds something (a squashed migration stands for others)."""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from importlib import import_module

from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder


def pending_migrations() -> tuple[str, ...]:
    """``app.name`` of each, in the order in which they would be applied.

    :raises django.db.Error: when the database is away."""
    applied = set(MigrationRecorder(connection).applied_migrations())
    if _known() <= applied:
        return ()
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return tuple(f"{migration.app_label}.{migration.name}" for migration, _backwards in plan)


@lru_cache(maxsize=1)
def _known() -> frozenset[tuple[str, str]]:
    found = set()
    for config in apps.get_app_configs():
        try:
            package = import_module(f"{config.name}.migrations")
        except ModuleNotFoundError:
            continue
        found.update(
            (config.label, module.name) for module in pkgutil.iter_modules(package.__path__)
            if not module.ispkg and module.name[0] not in "_~"
        )
    return frozenset(found)
