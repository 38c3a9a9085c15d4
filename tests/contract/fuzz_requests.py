"""Whole requests for the fuzz tests: signed ones that were altered, jobs for /v1, and bytes that may be no HTTP at all."""

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from tests.contract.fuzz_inputs import IMAGE, ODD_BODIES, QUICK, Inputs, bodies, encoded, junk, mangled, mix, texts
from tests.contract.fuzz_wire import request_bytes

_AWKWARD_HEADERS = [
    "", " ", ",", ";", "=", "a" * 4000, "\x01", "é", "\x7f", '"', "AWS4-HMAC-SHA256", "Bearer", "Bearer .", "0", "-1",
    "a, b", "null", "99991231T235959Z", "20261122T000000Z", "[]",
    "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host;x-amz-date, Signature=0",
]  # fmt: skip
_NEW_HEADERS = [
    "X-Amz-Content-SHA256", "X-Amz-Security-Token", "Date", "amz-sdk-invocation-id", "X-a_b", "Transfer-Encoding",
    "Expect",
]  # fmt: skip
_PATHS = [
    "/", "/x/", "/%", "/%zz", "/%00", "/?", "/?a=b&X-Amz-Algorithm=c", "//", "/..", "/v1", "/é", "/a%20b", "/*", "/;",
    "/v1/jobs",
]  # fmt: skip
_METHODS = [
    "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post", "X" * 20, "POST",
]  # fmt: skip
_REPLACED = [
    ("/", "//"),
    ("rekognition", "s3"),
    ("us-east-1", "x"),
    ("=", "=="),
    (", ", ",,"),
    (";", ";;"),
    ("host", "Host"),
]
_FORM_TYPES = [
    "multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="x',
    "multipart/mixed; boundary=x", "multipart/form-data; boundary=" + "x" * 300, "multipart/form-data; boundary=é",
]  # fmt: skip

_operations = mix(*[st.sampled_from(QUICK)] * 5, st.sampled_from(IMAGE))
_latin = st.characters(max_codepoint=255, exclude_characters="\r\n")
_header_values = st.sampled_from(_AWKWARD_HEADERS) | st.text(_latin, max_size=30)
_form_types = mix(*[st.just("multipart/form-data; boundary=x")] * 3, st.sampled_from(_FORM_TYPES))


@dataclass(frozen=True)
class Draft:
    """A request before it becomes bytes."""

    body: bytes
    method: str = "POST"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)

    def with_header(self, name: str, value: str) -> "Draft":
        return replace(self, headers={**self.headers, name: value})


@st.composite
def calls(draw: st.DrawFn, inputs: Inputs) -> tuple[str, bytes]:
    """Make an operation and its body."""
    operation = draw(_operations)
    return operation, draw(bodies(inputs, operation))


@st.composite
def altered(draw: st.DrawFn, sent: Draft) -> Draft:
    """Alter a signed request in one to three places."""
    for _ in range(draw(st.integers(1, 3))):
        sent = draw(st.sampled_from(_ALTERATIONS))(draw, sent)
    return sent


def _other_value(draw: st.DrawFn, sent: Draft) -> Draft:
    return sent.with_header(draw(st.sampled_from(sorted(sent.headers))), draw(_header_values))


def _no_header(draw: st.DrawFn, sent: Draft) -> Draft:
    name = draw(st.sampled_from(sorted(sent.headers)))
    return replace(
        sent, headers={key: value for key, value in sent.headers.items() if key != name or len(sent.headers) == 1}
    )


def _new_header(draw: st.DrawFn, sent: Draft) -> Draft:
    return sent.with_header(draw(st.sampled_from(_NEW_HEADERS)), draw(_header_values))


def _other_authorization(draw: st.DrawFn, sent: Draft) -> Draft:
    good = sent.headers.get("Authorization", "")
    changed = st.one_of(
        st.integers(0, len(good)).map(lambda at: good[:at]),
        st.sampled_from(_REPLACED).map(lambda pair: good.replace(*pair)),
        mangled(good.encode("latin-1")).map(lambda text: text.decode("latin-1").replace("\r", "").replace("\n", "")),
    )
    return sent.with_header("Authorization", draw(changed))


def _other_body(draw: st.DrawFn, sent: Draft) -> Draft:
    return replace(sent, body=draw(mangled(sent.body) | st.sampled_from(ODD_BODIES)))


def _other_path(draw: st.DrawFn, sent: Draft) -> Draft:
    return replace(sent, path=draw(st.sampled_from(_PATHS)))


def _other_method(draw: st.DrawFn, sent: Draft) -> Draft:
    return replace(sent, method=draw(st.sampled_from(_METHODS)))


_ALTERATIONS = [
    _other_value, _other_value, _no_header, _new_header, _other_authorization, _other_authorization, _other_body,
    _other_path, _other_method,
]  # fmt: skip


@st.composite
def jobs(draw: st.DrawFn, inputs: Inputs) -> tuple[dict[str, str], bytes]:
    """Make a submission to /v1/jobs, in JSON or as a form, with what a caller may say in headers."""
    said = {
        "Prefer": st.sampled_from(["wait=0", "wait=-1", "wait", "wait=é", ",", "a=b, wait=0"]),
        "Idempotency-Key": st.sampled_from(['"a"', "", "a b", "a" * 300, "k1", '"']),
    }
    headers = draw(st.fixed_dictionaries({}, optional=said))
    members = draw(_submissions(inputs))
    if draw(st.integers(0, 2)) == 0:
        return {**headers, "Content-Type": draw(_form_types)}, draw(_forms(members))
    body = encoded(draw(mix(*[st.just(members)] * 5, junk)), plain=draw(st.booleans()))
    return {**headers, "Content-Type": "application/json"}, draw(mangled(body)) if draw(
        st.integers(0, 6)
    ) == 0 else body


@st.composite
def _submissions(draw: st.DrawFn, inputs: Inputs) -> dict[str, Any]:
    operation = draw(st.sampled_from(IMAGE))
    # No address in here is one that anything would be sent to.
    hooks = st.sampled_from([{"Url": "http://10.0.0.1/"}, {"Url": ""}, {"Url": "https://user:pass@10.0.0.1"}, {}])
    extra = {
        "Metadata": st.dictionaries(texts, texts | junk, max_size=3) | junk,
        "ClientRequestToken": st.sampled_from(["t1", "t2"]) | junk,
        "Webhook": hooks | junk,
        "Priority": junk,
    }
    chosen = draw(st.fixed_dictionaries({}, optional=extra)) if draw(st.booleans()) else {}
    return {"Operation": operation, "Input": draw(inputs.of(operation)), **chosen}


@st.composite
def _forms(draw: st.DrawFn, members: dict[str, Any]) -> bytes:
    names = [b"", b"", b'; filename="a.jpg"', b"; filename", b"; filename*=utf-8''%ff"]
    lines = [b"", b"", b"Content-Type: image/jpeg\r\n", b"Content-Transfer-Encoding: base64\r\n", b"\0: \xff\r\n"]
    values = {name: encoded(value, plain=True) for name, value in members.items()}
    values |= {"Operation": members["Operation"].encode(), "Image": b"\xff\xd8 no picture"}
    body = b""
    for name, value in values.items():
        form = b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n%s\r\n%s\r\n'
        body += form % (name.encode(), draw(st.sampled_from(names)), draw(st.sampled_from(lines)), value)
    body += b"--x--\r\n"
    return draw(mangled(body)) if draw(st.booleans()) else body


_FIRST_LINES = [
    b"POST / HTTP/1.1", b"GET / HTTP/1.0", b"GET /livez", b"POST / HTTP/0.9", b"POST / HTTP/2.0", b"POST / HTTP/1.9",
    b"PRI * HTTP/2.0", b"GET", b"post / HTTP/1.1", b" POST / HTTP/1.1", b"POST  / HTTP/1.1", b"POST / HTTP/1.1 ",
    b"POST /\0 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"GET http://other/ HTTP/1.1",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"GET /\xff\xfe HTTP/1.1", b"\x16\x03\x01\x02\x00\x01", b"", b"\r\n\r\n",
    b"HEAD / HTTP/1.1", b"GET / HTTP/1.1\nHost: a", b"POST /v1/jobs HTTP/1.1", b"GET /v1/jobs/x?wait=x HTTP/1.1",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2", b"GET //a HTTP/1.1", b"GET a HTTP/1.1",
]  # fmt: skip
_LINES = [
    b"Host: a", b"Host: a", b"Host: b", b"Host:", b"Host: \xff", b"Content-Length: 0", b"Content-Length: 5",
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: +5", b"Content-Length: 5, 5",
    b"Content-Length: 0x5", b"Content-Length: 99999999999999999999", b"Content-Length: ", b"Content-Length: 1_0",
    b"Content-Length: \xb2", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: ", b"Transfer_Encoding: chunked", b"Expect: 100-continue",
    b"Expect: x", b"Connection: close",
    b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", b"Upgrade: websocket",
    b"Content-Encoding: gzip", b"X-Amz-Target: RekognitionService.ListFaces", b"Authorization: Bearer x",
    b"Content-Type: multipart/form-data; boundary=x", b"NoColon", b": empty", b"Sp ace: a", b"Space : a",
    b"a: " + b"b" * 9000, b"Nul: \0", b"Cr: a\rb", b" folded", b"\tfolded", b"\xff\xfe: a",
    b"X-Forwarded-Proto: https", b"X-Forwarded-For: a", b"Cookie: " + b"a=b; " * 800, b"Range: bytes=0-", b"\r",
    b"\r\n".join(b"H%d: a" % n for n in range(150)), b"Trailer: Host", b"TE: trailers", b"Content-Type: \xff",
]  # fmt: skip
_CONTENTS = [
    b"", b"hello", b"hell", b"hello!", b"{}", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"5\r\nhello", b"FFFFFFFFFFFFFFFFF\r\nhello\r\n", b"-1\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n", b"5;" + b"a" * 9000,
    b"5\nhello\n0\n\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloX\r\n", b"\r\n", b"g\r\n", b"0\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
]  # fmt: skip


@st.composite
def raw(draw: st.DrawFn, good: Draft) -> bytes:
    """Make bytes for a socket: pieces of HTTP that do not belong together, or a good request that was damaged."""
    if draw(st.integers(0, 3)) == 0:
        whole = request_bytes(good.method, good.path, good.headers, good.body)
        return draw(mangled(whole) | st.integers(0, len(whole)).map(lambda at: whole[:at]))
    lines = [draw(st.sampled_from(_FIRST_LINES)), *draw(st.lists(st.sampled_from(_LINES), max_size=6))]
    if draw(st.booleans()):
        lines.insert(1, b"Host: a")
    sent = b"\r\n".join([*lines, b"", b""]) + draw(st.sampled_from(_CONTENTS) | st.binary(max_size=30))
    sent = draw(mangled(sent)) if draw(st.integers(0, 4)) == 0 else sent
    return sent * draw(st.sampled_from([1, 1, 1, 2, 5]))
