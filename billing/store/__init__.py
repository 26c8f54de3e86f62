"""The request store: request-level facts and counters as Parquet, by UTC day, read and written with DuckDB.

Files are `day=YYYY-MM-DD/import-<id>.g<generation>-<n>.parquet`, in a directory or an object store. A file counts only
if the caller names its import and generation: a stray one, left by a worker that was killed, is never read and is
overwritten by the next attempt. `pack-<n>.parquet` holds what several imports have on a day; their rows count where the
caller says that the import is in it, and then files of its own of that day do not.
"""

from billing.store.engine import Engine, RequestStore
from billing.store.places import StoreUnreachable
from billing.store.session import is_out_of_room
from billing.store.values import (
    COUNTER_COLUMNS,
    KEY_COLUMNS,
    NEW_SOURCE,
    NO_PLAN,
    STORE_COLUMNS,
    Classify,
    ClassifyPeriod,
    ClassifyPlan,
    Conflict,
    Pack,
    SourceOfRows,
    Sources,
    Staged,
    StageFailed,
    StoredImport,
    Summary,
)

__all__ = [
    "COUNTER_COLUMNS",
    "KEY_COLUMNS",
    "NEW_SOURCE",
    "NO_PLAN",
    "STORE_COLUMNS",
    "Classify",
    "ClassifyPeriod",
    "ClassifyPlan",
    "Conflict",
    "Engine",
    "Pack",
    "RequestStore",
    "SourceOfRows",
    "Sources",
    "StageFailed",
    "Staged",
    "StoreUnreachable",
    "StoredImport",
    "Summary",
    "is_out_of_room",
]
