"""Send webhooks as a courier does, one attempt at a time, to receivers that answer by script."""

import itertools

from tests.scripted import Script, ScriptedServer
from workers import courier
from workers.runtime import Runtime


def receiver(*scripts: Script) -> ScriptedServer:
    """Make a receiver that answers one call after the other; the last script is for all that follow."""
    remaining = itertools.chain(scripts, itertools.repeat(scripts[-1]))
    return ScriptedServer(lambda sock: next(remaining)(sock))


def deliver(runtime: Runtime, chance: float = 0.5) -> bool:
    """Make the one attempt that is next; False where none is due."""
    claims = courier.take(runtime, 1)
    for claim in claims:
        courier.deliver(claim, runtime, chance=chance)
    return bool(claims)


def message(request: bytes) -> tuple[dict[str, str], bytes]:
    """Split a request into the headers with lower-case names, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.lower(): value for name, _, value in lines}, body
