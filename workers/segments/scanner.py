"""Two scans over memory that belongs to a mapped file: of the codes, and of the rows in half precision.

faiss reads both where they lie: its lists «on disk» are told an address, and copy nothing.
"""

from typing import Any, NamedTuple

import faiss
import numpy as np

from workers.segments.codebook import BLOCK, EXTRA, PAIR, Codebook
from workers.vision.arrays import Floats

#: Above this share a candidate's turn costs more than to compare every row.
_MOST_CANDIDATES = 0.05

#: The first rows are asked how many candidates there will be.
_PROBED_ROWS = 4_096

#: Matches that a search mostly has no more of.
_FIRST_MATCHES = 128


class Candidates(NamedTuple):
    """Places of rows and their cosines to the query, in half precision."""

    places: Any
    cosines: Floats


class Memory(NamedTuple):
    """Where a file's sections lie: codes, rows, and the places 0, 1, 2... of both, which faiss wants behind them."""

    content: Any  # all of the file as bytes; it stays mapped for as long as anything here uses it
    codes: int
    rows: int
    places: int


class Scanner:
    """Searches one file's rows. Threads share one."""

    def __init__(self, codebook: Codebook, memory: Memory, count: int) -> None:
        self._codebook = codebook
        self._count = count
        rows = np.frombuffer(memory.content, np.float16, count * codebook.dimension, memory.rows)
        self._rows = rows.reshape(count, codebook.dimension)
        self._probe = _coded(codebook, _Lists(memory, memory.codes, codebook.code_bytes, min(count, _PROBED_ROWS)))
        self._codes = _coded(codebook, _Lists(memory, memory.codes, codebook.code_bytes, count))
        self._halves = _half_precise(codebook, _Lists(memory, memory.rows, self._rows.strides[0], count))

    def find(self, query: Floats, min_cosine: float) -> Candidates:
        """Find every row whose cosine in half precision reaches the threshold."""
        faiss.omp_set_num_threads(1)  # a setting of each thread
        asked = self._codebook.ask(query, min_cosine) if min_cosine > 0 else None
        if asked is not None and self._pays(*asked):
            return self._compare(_search(self._codes, *asked).places, query, min_cosine)
        return _search(self._halves, query, min_cosine)

    def _pays(self, asked: Floats, bar: float) -> bool:
        """Tell whether the codes leave so few candidates that it is worth to look at them first."""
        return len(_search(self._probe, asked, bar).places) <= _MOST_CANDIDATES * min(self._count, _PROBED_ROWS)

    def _compare(self, places: Any, query: Floats, min_cosine: float) -> Candidates:
        if not len(places):
            return Candidates(places, np.zeros(0, np.float32))
        rows = self._rows.take(places, axis=0)
        index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.add_sa_codes(rows.view(np.uint8))
        # Fifty times as quick as faiss's search within a range, as long as few of the candidates are matches.
        wanted = min(len(rows), _FIRST_MATCHES)
        cosines, found = index.search(query[None], wanted)
        while cosines[0, -1] >= min_cosine and wanted < len(rows):
            wanted = min(len(rows), 8 * wanted)
            cosines, found = index.search(query[None], wanted)
        matches = found[0, cosines[0] >= min_cosine]
        return Candidates(places[matches], cosines[0, : len(matches)])


def _search(index: Any, query: Floats, bar: float) -> Candidates:
    _, cosines, places = index.range_search(query[None], bar)
    return Candidates(places, cosines)


class _Lists:
    """A single list of codes, at an address that is not faiss's own."""

    def __init__(self, memory: Memory, offset: int, code_bytes: int, count: int) -> None:
        self.count = count
        self._content = memory.content
        self.lists = faiss.OnDiskInvertedLists(1, code_bytes, "")
        self.lists.read_only = True
        self.lists.prefetch_nthread = 0
        self.lists.totsize = len(memory.content)
        self.lists.ptr = faiss.swig_ptr(memory.content)
        place = faiss.OnDiskOneList()
        # faiss looks for the numbers of rows, here their places, behind as many codes as there is room for.
        place.offset, place.size, place.capacity = offset, count, (memory.places - offset) // code_bytes
        self.lists.lists.clear()
        self.lists.lists.push_back(place)

    def __del__(self) -> None:
        self.lists.ptr = None  # else faiss would unmap it

    def fill(self, index: Any) -> Any:
        """Have an index search this list."""
        index.is_trained, index.ntotal = True, self.count
        index.replace_invlists(self.lists, False)
        index.referenced_objects.append(self)
        return index


def _coded(codebook: Codebook, lists: _Lists) -> Any:
    width = codebook.dimension + EXTRA
    index = faiss.IndexIVFPQFastScan(_coarse(width), width, 1, width // PAIR, 4, faiss.METRIC_INNER_PRODUCT, BLOCK)
    index.by_residual = False
    faiss.copy_array_to_vector(codebook.centroids.ravel(), index.pq.centroids)
    return lists.fill(index)


def _half_precise(codebook: Codebook, lists: _Lists) -> Any:
    width = codebook.dimension
    half = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexIVFScalarQuantizer(_coarse(width), width, 1, half, faiss.METRIC_INNER_PRODUCT, False)
    return lists.fill(index)


def _coarse(width: int) -> Any:
    """Give what chooses the only list."""
    index = faiss.IndexFlatIP(width)
    index.add(np.zeros((1, width), np.float32))
    return index
