"""`rekollect up`: the whole stack on one machine, in the foreground, until Ctrl-C or SIGTERM."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from app.local.errors import LocalError
from app.local.stack import Stack

_PASS_SECONDS = 0.25
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rekollect up`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default %(default)s)")
    parser.add_argument(
        "--data-dir", type=Path, default=Path(".rekollect"), help="folder that keeps everything (default %(default)s)"
    )
    parser.add_argument("--workers", type=_at_least_one, default=1, help="worker processes (default %(default)s)")
    parser.set_defaults(run=up)


def up(arguments: argparse.Namespace) -> int:
    """Run until a signal ends it; 0 after a clean stop, 1 when something cannot start."""
    stack = Stack(
        os.environ,
        arguments.data_dir,
        arguments.host,
        arguments.port,
        arguments.workers,
        lambda line: print(line, flush=True),
    )
    for number in _ENDING:
        signal.signal(number, _end)
    try:
        stack.start()
        while True:
            stack.tend()
            time.sleep(_PASS_SECONDS)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    except LocalError as error:
        print(f"rekollect: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        _ignore_signals()
        stack.stop()
    print("stopped", flush=True)
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    _ignore_signals()  # a second Ctrl-C must not interrupt the stopping, which is bounded in time
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
