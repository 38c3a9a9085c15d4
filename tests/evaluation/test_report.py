"""What is told: the report needs nothing beside itself, names cannot break it, and what cannot be told is not."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.evaluation.made import make_evaluation
from workers.evaluation import report
from workers.evaluation.document import document
from workers.evaluation.evaluation import Evaluation
from workers.evaluation.summary import summary

NAME = 'a <b> & "c"'
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return make_evaluation(tmp_path_factory.mktemp("pictures"), fitted=True, galleries=[30], name=NAME)


class _Page(HTMLParser):
    """Collects tags, and checks that each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def close(self) -> None:
        super().close()
        assert self._open == []


def test_the_page_is_whole_and_asks_for_nothing_else(evaluation: Evaluation) -> None:
    text = report.render(evaluation, NOW)
    page = _Page()
    page.feed(text)
    page.close()
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"}
    assert not [attributes for _, attributes in page.tags if {"src", "href", "style"} & set(attributes)]
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text


def test_every_plot_is_there_and_stays_in_its_box(evaluation: Evaluation) -> None:
    plots = re.findall(r"<svg.*?</svg>", report.render(evaluation, NOW))
    names = [ElementTree.fromstring(plot).get("aria-label") for plot in plots]  # noqa: S314 - our own text
    assert names == ["Detection error trade-off", "Cosines of pairs", "Similarity of a cosine", "Error versus reject"]
    for plot in plots:
        width, height = map(float, re.findall(r'viewBox="0 0 (\d+) (\d+)"', plot)[0])
        points = [
            tuple(map(float, point.split(",")))
            for path in re.findall('points="([^"]+)"', plot)
            for point in path.split()
        ]
        assert points
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_names_are_text_and_never_markup(evaluation: Evaluation) -> None:
    text = report.render(evaluation, NOW)
    assert "a &lt;b&gt; &amp;" in text
    assert "<b>" not in text


def test_the_report_is_written_in_one_step(evaluation: Evaluation, tmp_path: Path) -> None:
    report.write(evaluation, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_document_is_json_with_every_figure(evaluation: Evaluation) -> None:
    found = json.loads(json.dumps(document(evaluation), allow_nan=False))
    assert (found["pictures"], found["persons"], found["recognizer"]) == (180, 60, NAME)
    assert (found["genuine_pairs"], found["impostor_pairs"]) == (180, 180 * 179 // 2 - 180)
    assert [Path(path).name for path in found["failures_to_enrol"]] == ["0.jpg"]
    told = {point["false_match_rate"]: point["can_tell"] for point in found["true_match_rate_at"]}
    assert told == {1e-2: True, 1e-3: True, 1e-4: False, 1e-5: False, 1e-6: False}
    assert found["search"][0]["gallery"] == 30
    assert found["fit"]["slope"] == found["curve"]["slope"]
    assert [anchor["extrapolated"] for anchor in found["fit"]["anchors"]] == [True, True]
    assert [peer["recognizer"] for peer in found["peers"]] == ["a peer"]


def test_the_summary_tells_what_it_knows_and_says_what_it_does_not(evaluation: Evaluation) -> None:
    text = summary(evaluation)
    assert re.search(r"TAR at FMR 1e-03 +0\.\d{4} ", text)
    assert re.search(r"TAR at FMR 1e-06 +cannot tell", text)
    assert "Search among 30 persons" in text
    assert re.search(r"rekollect models add … --curve \d+\.\d{3} -?\d+\.\d{3}", text)
    assert re.search(r"99 +1e-06 +0\.\d{3} ± 0\.\d{3} at least +extrapolated", text)
    assert "0.jpg: no face" in text


def test_pictures_of_strangers_alone_are_told_too(tmp_path: Path) -> None:
    whole = make_evaluation(tmp_path)
    scores = replace(whole.ours.scores, genuine=whole.ours.scores.genuine[:0], norms=whole.ours.scores.norms[:0])
    text = report.render(replace(whole, ours=replace(whole.ours, scores=scores)), NOW)
    assert "Cosines of pairs" in text
    assert "Error versus reject" not in text
