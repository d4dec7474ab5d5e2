"""Where a run is stored: the few file operations that everything else uses.

Files are written under a name that nobody reads yet and become visible in one step: `create` (exclusive, the first
writer wins) for commit records, `replace` for manifests. Nothing is renamed, because an object store cannot rename.
Paths are relative to the run, with forward slashes. `LocalStorage` is for local and mounted file systems,
`ObjectStorage` for s3://, gs:// and az://; both are small and picklable, and are sent to the tasks.
"""

from __future__ import annotations

from pipeline.core.storage.base import (
    CHUNK_BYTES,
    PROBE,
    READ_AHEAD_BYTES,
    STREAM_AHEAD_BYTES,
    FileRecord,
    NewFile,
    Storage,
    disk_errors,
    meant,
    new_name,
)
from pipeline.core.storage.local import LocalStorage, at_home
from pipeline.core.storage.pictures import PICTURE_BYTES_AT_ONCE, Place, read_pictures
from pipeline.core.storage.store import SCHEMES, Listed, ObjectStorage, Version, environment_of_stores

__all__ = [
    "CHUNK_BYTES",
    "PICTURE_BYTES_AT_ONCE",
    "PROBE",
    "READ_AHEAD_BYTES",
    "SCHEMES",
    "STREAM_AHEAD_BYTES",
    "FileRecord",
    "Listed",
    "LocalStorage",
    "NewFile",
    "ObjectStorage",
    "Place",
    "Storage",
    "Version",
    "at_home",
    "disk_errors",
    "environment_of_stores",
    "meant",
    "new_name",
    "open_storage",
    "read_pictures",
]


def open_storage(location: str) -> Storage:
    """Storage at a local path or URL. InputError `output_unwritable` for an unknown scheme, a store that does not
    answer, and a folder that cannot be listed."""
    return ObjectStorage.at(location) if "://" in location else LocalStorage.at(location)
