"""The pages under /docs: complete, without scripts or other hosts, and every link on them leads somewhere."""

import re
from html.parser import HTMLParser

import pytest

from app.api.openapi.document import ROUTES, document
from app.api.problems import catalogue
from tests.contract.wire import problem, send
from tests.live import Answer, LiveStack

PAGES = ("/docs", "/docs/problems", "/docs/problems/ThrottlingException")


class Page(HTMLParser):
    """What a page holds that matters here."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(str(value))
            elif name in ("href", "src"):
                self.links.append(str(value))


def get(live: LiveStack, path: str) -> Answer:
    answer = send(live, "GET", path)  # without any key
    assert answer.status == 200, path
    return answer


@pytest.fixture(scope="module")
def pages(live: LiveStack) -> dict[str, Page]:
    return {path: Page(get(live, path).body.decode()) for path in PAGES}


@pytest.mark.parametrize("path", [*PAGES, "/docs/style.css", "/openapi.json"])
def test_what_is_served_is_kept_from_running_anything(live: LiveStack, path: str) -> None:
    answer = get(live, path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = send(live, "GET", path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_pages_have_neither_scripts_nor_styles_of_their_own(pages: dict[str, Page]) -> None:
    for page in pages.values():
        assert not page.tags & {"script", "style", "iframe", "img"}
        assert not {name for name in page.attributes if name.startswith("on") or name == "style"}
        assert len(page.ids) == len(set(page.ids))


def test_every_link_leads_somewhere(live: LiveStack, pages: dict[str, Page]) -> None:
    for path, page in pages.items():
        for link in sorted(set(page.links)):
            target, _, anchor = link.partition("#")
            if target.startswith("https://"):
                assert target == "https://www.standardwebhooks.com/"
                continue
            found = pages.get(target or path)
            if found is None:
                get(live, target)
            if anchor:
                assert found is not None, link
                assert anchor in found.ids, link


def test_the_page_shows_every_call_and_every_schema(pages: dict[str, Page]) -> None:
    shown = set(pages["/docs"].ids)
    assert {route.name for route in ROUTES} <= shown
    assert {f"schema-{name}" for name in document()["components"]["schemas"]} <= shown


def test_every_problem_has_an_anchor_and_a_page(live: LiveStack, pages: dict[str, Page]) -> None:
    assert set(catalogue()) <= set(pages["/docs/problems"].ids)
    for code, known in catalogue().items():
        text = get(live, f"/docs/problems/{code}").body.decode()
        assert f"<h1>{code}</h1>" in text
        assert all(str(status) in text for status in known.statuses)


def test_a_problem_that_does_not_exist_is_not_found(live: LiveStack) -> None:
    problem(send(live, "GET", "/docs/problems/None"), 404, "NotFound")


def test_the_type_of_a_problem_is_an_anchor(live: LiveStack, pages: dict[str, Page]) -> None:
    refused = send(live, "GET", "/v1/jobs").json
    path, _, anchor = refused["type"].partition("#")
    assert anchor in pages[path].ids


def test_one_code_may_have_two_statuses() -> None:
    assert catalogue()["ThrottlingException"].statuses == (429, 503)
    assert catalogue()["GoneException"].statuses == (410,)
    assert not re.search(r"\s\s", " ".join(meaning for one in catalogue().values() for meaning in one.meanings))
