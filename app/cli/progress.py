"""How far a long command is: one line that is written over on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from dataclasses import dataclass
from typing import TextIO

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 10.0
_BAR = 24


@dataclass(slots=True)
class Tally:
    """What has been counted up to now."""

    done: int = 0
    faces: int = 0
    failed: int = 0
    skipped: int = 0


class Progress:
    """Counts pictures and shows it; threads may share one."""

    def __init__(self, total: int | None, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.tally = Tally()
        self.total = total
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._began = time.monotonic()
        self._shown_at = self._began
        self._lock = threading.Lock()

    def count(self, *, faces: int = 0, failed: bool = False, skipped: bool = False) -> None:
        """Count one more picture."""
        with self._lock:
            self.tally.done += 1
            self.tally.faces += faces
            self.tally.failed += failed
            self.tally.skipped += skipped
        self.show()

    def show(self, *, last: bool = False) -> None:
        """Show how far it is, if that was not just done."""
        with self._lock:
            now = time.monotonic()
            if self._quiet:
                return
            if not last and now - self._shown_at < (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
                return
            self._shown_at = now
            line = self.line(now)
            self._stream.write(f"\r\x1b[2K{line}" + "\n" * last if self._terminal else line + "\n")
            self._stream.flush()

    def line(self, now: float) -> str:
        """Write the present state on a line."""
        tally, seconds = self.tally, max(now - self._began, 1e-3)
        rate = (tally.done - tally.skipped) / seconds
        counts = f"{tally.faces} faces  {tally.failed} failed  {rate:.1f} images/s"
        if not self.total:
            return f"{tally.done} images  {counts}"
        share = min(tally.done / self.total, 1.0)
        bar = "#" * round(share * _BAR)
        left = duration((self.total - tally.done) / rate) if rate > 0 else "-"
        return f"[{bar.ljust(_BAR)}] {tally.done}/{self.total} images  {counts}  ETA {left}"

    def summary(self) -> str:
        """Tell what was done, and in which time."""
        tally, seconds = self.tally, time.monotonic() - self._began
        known = f" ({tally.skipped} were done before)" if tally.skipped else ""
        return f"{tally.done} images{known}, {tally.faces} faces, {tally.failed} failed, in {duration(seconds)}"


def duration(seconds: float) -> str:
    """Write a time span in the largest two units that matter."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
