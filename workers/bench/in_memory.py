"""The ways of FAISS, for comparison: everything in the memory of one process, searched by one thread."""

import importlib
import os
from collections.abc import Iterator
from typing import Any

from app.domain.search_modes import BUILD_CANDIDATES, CANDIDATES, CONNECTIONS
from workers.bench.contest import Contestant
from workers.bench.made_faces import Embeddings
from workers.bench.stages import Stages


def contestants(embeddings: Embeddings, min_cosine: float, stages: Stages) -> Iterator[Contestant]:
    """Give FAISS's flat scan and its graph; nothing where it is not installed."""
    try:
        faiss: Any = importlib.import_module("faiss")
    except ImportError:
        stages.say("faiss is not installed: no comparison with it (pip install faiss-cpu)")
        return
    count, dimension = embeddings.shape
    flat = faiss.IndexFlatIP(dimension)
    flat.add(embeddings)
    graph = faiss.IndexHNSWFlat(dimension, CONNECTIONS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = BUILD_CANDIDATES, CANDIDATES
    with stages.stage("building the graph of FAISS"):
        faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
        graph.add(embeddings)
        faiss.omp_set_num_threads(1)

    def scan(query: Embeddings) -> set[int]:
        _, _, places = flat.range_search(query[None], min_cosine)
        return set(places.tolist())

    def walk(query: Embeddings) -> set[int]:
        cosines, places = graph.search(query[None], min(count, CANDIDATES))
        return set(places[0][cosines[0] >= min_cosine].tolist())

    yield Contestant("FAISS Flat, exact", scan, 4.0 * dimension)
    # Both directions of each connection, twice as many on the ground level, and the levels above.
    links = graph.hnsw.neighbors.size() * 4 / count
    yield Contestant(f"FAISS HNSW, {CONNECTIONS} connections", walk, 4.0 * dimension + links)
