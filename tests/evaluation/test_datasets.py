"""Labelled pictures as they lie on disks: what is read, and what is said of mistakes."""

from pathlib import Path

import numpy as np
import pytest

from workers.evaluation.datasets import read
from workers.evaluation.errors import EvaluationError
from workers.evaluation.pairs import Pairs


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def write(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(lines) + "\n")
    return file


LFW = ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bea/Bea_0001.jpg", "Bea/Bea_0002.jpg", "Cid/Cid_0001.jpg")


def listed(pairs: Pairs | None) -> list[tuple[int, int, bool, int]]:
    assert pairs is not None
    columns = (pairs.left.tolist(), pairs.right.tolist(), pairs.same.tolist(), pairs.folds.tolist())
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("inner", ["", "lfw-deepfunneled/", "lfw/lfw/"])
def test_lfw_is_read_as_it_is_unpacked(tmp_path: Path, inner: str) -> None:
    lay(tmp_path, *(inner + name for name in LFW))
    lines = ("2\t1", "Ann\t1\t2", "Ann\t2\tCid\t1", "Bea\t2\t1", "Bea\t1\tAnn\t1")
    write(tmp_path / "pairs.txt", *lines)
    dataset = read(tmp_path)
    assert [str(path.relative_to(tmp_path / inner)) for path in dataset.pictures] == list(LFW)
    assert dataset.central
    assert listed(dataset.pairs) == [(0, 1, True, 0), (1, 4, False, 0), (3, 2, True, 1), (2, 0, False, 1)]
    assert read(tmp_path, all_pairs=True).pairs is None


def test_a_list_without_folds_is_one_fold(tmp_path: Path) -> None:
    write(lay(tmp_path, *LFW) / "pairs.txt", "1", "Ann 1 2", "Ann 1 Bea 2")
    assert listed(read(tmp_path).pairs) == [(0, 1, True, 0), (0, 3, False, 0)]


def test_pictures_that_no_pair_names_can_be_left_out(tmp_path: Path) -> None:
    write(lay(tmp_path, *LFW) / "pairs.txt", "1 1", "Bea 1 2", "Bea 1 Cid 1")
    dataset = read(tmp_path).paired()
    assert [path.stem for path in dataset.pictures] == ["Bea_0001", "Bea_0002", "Cid_0001"]
    assert dataset.persons == ["Bea", "Bea", "Cid"]
    assert listed(dataset.pairs) == [(0, 1, True, 0), (0, 2, False, 0)]


def test_folders_named_after_persons_are_labelled_pictures(tmp_path: Path) -> None:
    dataset = read(lay(tmp_path, "ann/b.png", "ann/a.JPG", "ann/notes.txt", "bea/c.jpeg"))
    assert [path.name for path in dataset.pictures] == ["a.JPG", "b.png", "c.jpeg"]
    assert (dataset.persons, dataset.pairs, dataset.central) == (["ann", "ann", "bea"], None, False)


def test_a_csv_lists_pairs_beside_it_with_folds_or_without(tmp_path: Path) -> None:
    lay(tmp_path, "x/1.jpg", "2.jpg", "3.jpg")
    folds = write(tmp_path / "folds.csv", "left,right,same,fold", "x/1.jpg,2.jpg,1,b", "2.jpg,3.jpg,no,a")
    dataset = read(folds)
    assert dataset.pictures == [tmp_path / "x/1.jpg", tmp_path / "2.jpg", tmp_path / "3.jpg"]
    assert (dataset.persons, dataset.central) == ([], False)
    assert listed(dataset.pairs) == [(0, 1, True, 1), (1, 2, False, 0)]
    plain = write(tmp_path / "plain.csv", "same,right,left", *["TRUE,2.jpg,3.jpg"] * 20, *["0,2.jpg,x/1.jpg"] * 20)
    pairs = read(plain).pairs
    assert pairs is not None
    assert np.bincount(pairs.folds).tolist() == [4] * 10


def test_a_csv_lists_labelled_pictures(tmp_path: Path) -> None:
    lay(tmp_path, "1.jpg", "2.jpg")
    dataset = read(write(tmp_path / "who.csv", "person,path", "ann,1.jpg", "bea,2.jpg"))
    assert (dataset.persons, dataset.pairs) == (["ann", "bea"], None)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("a,b", "1,2"), "its first line must be left,right,same"),
        (("left,right,same", "1.jpg,2.jpg,perhaps"), "line 2: .* same must be 1 or 0"),
        (("left,right,same", "1.jpg,2.jpg"), "line 2: every line needs all columns"),
        (("path,person",), "lists nothing"),
        (("path,person", "1.jpg,ann", "gone.jpg,ann", "gone2.jpg,bea"), "gone.jpg and 1 more, which is not there"),
        (("path,person", "1.jpg,ann", "1.jpg,bea"), "more than once"),
    ],
)
def test_mistakes_in_a_csv_are_named(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        read(write(lay(tmp_path, "1.jpg", "2.jpg") / "list.csv", *lines))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("ten folds",), "first line must give"),
        ((), "first line must give"),
        (("1 2", "Ann 1 2", "Ann 1 Bea 1"), "announces 4 pairs and has 2"),
        (("1 1", "Ann 1 2", "Ann one Bea 1"), "'Ann one Bea 1' is no pair"),
        (("1 1", "Ann 1 2", "Ann 1 Bea 1 2"), "is no pair"),
        (("1 1", "Ann 1 3", "Ann 1 Bea 1"), "Ann/Ann_0003, of which there is no picture"),
    ],
)
def test_mistakes_in_a_list_of_lfw_are_named(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    write(lay(tmp_path, *LFW) / "pairs.txt", *lines)
    with pytest.raises(EvaluationError, match=said):
        read(tmp_path)


def test_a_place_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="does not exist"):
        read(tmp_path / "gone")
    with pytest.raises(EvaluationError, match="no pictures in folders named after persons"):
        read(lay(tmp_path, "a.jpg"))
