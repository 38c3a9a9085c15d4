"""A store that is far away: a relay in a process of its own, through which every answer comes so much later."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.live import free_port

_CHUNK = 1 << 16


@contextmanager
def far_away(url: str, *, seconds: float) -> Iterator[str]:
    """Give the address at which the server behind a URL answers later; what it sends comes as fast as before."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(port, url, seconds), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()


def _serve(port: int, url: str, seconds: float) -> None:
    asyncio.run(_relay(port, url, seconds))


async def _relay(port: int, url: str, seconds: float) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = urlsplit(url)
        back, forth = await asyncio.open_connection(server.hostname, server.port)
        await asyncio.gather(_pass_on(reader, forth, 0.0), _pass_on(back, writer, seconds))

    async with await asyncio.start_server(accept, "127.0.0.1", port) as listener:
        await listener.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Pass bytes on in their order, each so long after it came."""
    loop = asyncio.get_running_loop()
    while chunk := await reader.read(_CHUNK):
        loop.call_later(seconds, writer.write, chunk)
    loop.call_later(seconds, writer.close)
