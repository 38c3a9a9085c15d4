"""The connection under a request: has its client hung up?"""

import socket
from collections.abc import Mapping
from typing import Any


def hung_up(environ: Mapping[str, Any]) -> bool:
    """Tell whether nobody is there any more to take the answer; False where the server does not show its socket."""
    connection = environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        return False
    try:
        # The method of the plain socket: gunicorn's worker reads requests through one of its own, and nothing is read here.
        return socket.socket.recv(connection, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
