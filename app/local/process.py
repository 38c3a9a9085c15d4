"""Child processes of ours: started in their own session, never outliving us, ended with rising force.

Invariant: whatever `start` returned is gone after `stop`, and after the death of the thread that started it, however
that thread died (Linux sends the child its parent-death signal). So start children from a thread that lives as long as
they should.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.local.account import Account

_PR_SET_PDEATHSIG = 1
_LINUX = sys.platform == "linux"
_LIBC = ctypes.CDLL(None) if _LINUX else None  # loaded here: a forked child must not import anything


def start(
    arguments: Sequence[str],
    *,
    log: Path,
    death_signal: signal.Signals,
    environment: Mapping[str, str] | None = None,
    account: Account | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Run a program with its output appended to a log.

    `death_signal` is what it gets when we die first; `pass_fds` are the sockets that it inherits.
    """
    parent = os.getpid()

    def follow_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # we died between the fork and the line above
                os._exit(1)

    owner = account.process_owner(death_signal) if account else None
    # A log may lie in a folder of the account's own: never follow a link out of it.
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "ab") as output:
        return subprocess.Popen(  # noqa: S603  (our own programs with fixed arguments, never a shell)
            [*(owner.prefix if owner else ()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            pass_fds=pass_fds,
            start_new_session=True,  # the terminal's Ctrl-C must reach the supervisor alone
            preexec_fn=follow_parent,  # it runs after the change of user, which would clear the signal
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=() if owner and owner.uid is not None else None,
        )


def stop(child: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send each signal and wait its seconds, until the child has ended; at last kill its whole process group."""
    for number, seconds in steps:
        if child.poll() is not None:
            break
        child.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
    kill(child)


def kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and whatever is left of its process group, as a power failure would."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)  # the child leads its group: start_new_session
    child.wait()


def log_tail(log: Path, lines: int = 8) -> str:
    """Give the end of a log, for a message that says why a child died."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join("  " + line for line in text.splitlines()[-lines:])
