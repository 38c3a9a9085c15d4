"""Webhook receivers in a process of their own: each path says how well its receiver behaves.

`/well/…` answers at once, `/moody/…` fails as a share of all receivers do, `/hang/…`, `/drip/…` and `/gigabyte/…` always behave
badly. What was received is written to a file, one JSON object per line, when the process is told to end.
"""

import asyncio
import base64
import json
import random
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

MOODS = {"500": 0.05, "cut": 0.02, "hang": 0.01, "reset": 0.01, "429": 0.02}
GIGABYTE = 1 << 30
_PIECE = bytes(1 << 16)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Received:
    """A request as a receiver got it."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receivers:
    """The process, while its block lasts; what it received can be read after that."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "received.jsonl"

    def __enter__(self) -> "Receivers":
        command = [sys.executable, "-m", "tests.benchmarks.receivers", str(self._log)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)

    def received(self) -> list[Received]:
        with self._log.open() as lines:
            return [
                Received(path, headers, base64.b64decode(body))
                for path, headers, body in (json.loads(line) for line in lines)
            ]


async def _well(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, "HTTP/1.1 204 No Content\r\n\r\n")


async def _error(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, "HTTP/1.1 500 Error\r\nContent-Length: 5\r\n\r\nsorry")


async def _busy(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, "HTTP/1.1 429 Too Many\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n")


async def _cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part")


async def _reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def _drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        await _say(writer, "a")
        await asyncio.sleep(1)


async def _gigabyte(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, f"HTTP/1.1 200 OK\r\nContent-Length: {GIGABYTE}\r\n\r\n")
    for _piece in range(GIGABYTE // len(_PIECE)):
        writer.write(_PIECE)
        await writer.drain()


async def _say(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(text.encode())
    await writer.drain()


_MOODS: dict[str, Answer] = {"500": _error, "cut": _cut, "hang": _hang, "reset": _reset, "429": _busy}
_ALWAYS: dict[str, Answer] = {"well": _well, "hang": _hang, "drip": _drip, "gigabyte": _gigabyte}


def _choose(path: str, chance: random.Random) -> Answer:
    kind = path.split("/")[1]
    if kind != "moody":
        return _ALWAYS[kind]
    drawn = chance.random()
    for mood, share in MOODS.items():
        drawn -= share
        if drawn < 0:
            return _MOODS[mood]
    return _well


async def _serve(log: Path) -> None:
    lines: list[str] = []
    chance = random.Random(2026)  # noqa: S311 - moods, not secrets

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path, headers, body = await _request(reader)
            lines.append(json.dumps([path, headers, base64.b64encode(body).decode()]))
            await _choose(path, chance)(reader, writer)
        # The courier had enough, or this process is to end.
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1000)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    log.write_text("\n".join(lines))


async def _request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return head[0].split(" ")[1], headers, await reader.readexactly(int(headers["content-length"]))


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
