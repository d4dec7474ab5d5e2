"""From signatures to connected components: pairs by tasks, components on the driver.

The driver holds 20 bytes per edge in files and, while it joins them, some 80 in memory: 1e8 edges are 8 GB. Spanning
forests keep their number small: no bucket gives more edges than it has rows, and most give none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.copies.signature import PHASH_BITS, SIGNATURE_COLUMNS, CopyLimits
from pipeline.core.storage import FileRecord, Storage
from pipeline.core.tables import read_file, read_table, write_file, write_table
from pipeline.stages.dedup.join import near_edges
from schemas.dedup import COMPONENTS, EDGES, SIGNATURES

SIGNATURES_FOLDER, EDGES_FOLDER, COMPONENTS_FOLDER = "dedup/signatures", "dedup/edges", "dedup/components"


class Joined(NamedTuple):
    """Files of schemas EDGES and COMPONENTS."""

    edges: list[FileRecord]
    components: FileRecord


def node(*columns: str) -> Column:
    """The number of a signature, by its columns.

    Among 10^9 of them two are equal with a chance of 3%. Their clusters are then one, but select, which compares the
    hashes themselves, still separates them.
    """
    return F.xxhash64(*columns)


def join_copies(pictures: DataFrame, storage: Storage, limits: CopyLimits) -> Joined:
    """The components of all pictures within ``limits`` of one another. ``pictures`` has the columns of a signature,
    none of them null. Equal signatures count as one; a signature without a copy is in no component."""
    distinct = pictures.groupBy(*SIGNATURE_COLUMNS).agg(node(*SIGNATURE_COLUMNS).alias("node"))
    signatures = write_table(distinct, storage, SIGNATURES_FOLDER, SIGNATURES)
    rows = read_table(pictures.sparkSession, storage, signatures, SIGNATURES)
    found = near_edges(rows, limits, sum(record.rows for record in signatures))
    edges = write_table(found, storage, EDGES_FOLDER, EDGES)
    components = write_file(storage, COMPONENTS_FOLDER, COMPONENTS, components_of(storage, edges))
    storage.sweep(SIGNATURES_FOLDER, set())
    storage.sweep(EDGES_FOLDER, {record.path for record in edges})
    storage.sweep(COMPONENTS_FOLDER, {components.path})
    return Joined(edges, components)


def components_of(storage: Storage, edges: Sequence[FileRecord]) -> Iterator[pa.Table]:
    """For each node with an edge the smallest node of its component, and its least distance."""
    table = pa.concat_tables(read_file(storage, record, EDGES.names) for record in edges)
    if not table.num_rows:
        return
    nodes, ends = np.unique(np.concatenate([table["node_a"], table["node_b"]]), return_inverse=True)
    numbers: npt.NDArray[np.signedinteger] = ends.astype(np.int32 if len(nodes) < 2**31 else np.int64)
    one, other = numbers.reshape(2, -1)
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    _, smallest = np.unique(component, return_index=True)  # nodes are in order: the first is the smallest
    bits = table["bits"].to_numpy()
    nearest = np.full(len(nodes), PHASH_BITS, np.int32)
    np.minimum.at(nearest, one, bits)
    np.minimum.at(nearest, other, bits)
    yield pa.table([nodes, nodes[smallest][component], nearest], schema=COMPONENTS)
