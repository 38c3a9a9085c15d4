"""How often a key may call: a token bucket per key in Valkey, shared by all web processes.

It fails open: while Valkey is away or slow, nobody is refused, because a limit protects the service and its absence must not
stop it. The bucket holds two seconds' worth of calls, two at least, so short bursts pass.
"""

import logging
import threading
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.errors import ProvisionedThroughputExceeded, ServiceError, Throttled

log = logging.getLogger(__name__)

BURST_SECONDS = 2.0
_SMALLEST_BURST = 2.0

#: A key whose bucket was not full for this long exceeds its rate steadily; before that it is a burst.
_STEADY_SECONDS = 10.0

_TIMEOUT_SECONDS = 0.1
_BREAKER_SECONDS = 5.0

# Takes one token. Gives the milliseconds until the next one is there (0: taken), and how long ago the bucket was full.
_TAKE = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at', 'full')
local idle = math.max(0, now - (tonumber(state[2]) or now))
local tokens = math.min(burst, (tonumber(state[1]) or burst) + idle * rate)
local full = tonumber(state[3]) or now
if tokens >= burst then full = now end
local wait = 0
if tokens >= 1 then
    tokens = tokens - 1
else
    wait = math.ceil((1 - tokens) / rate * 1000)
end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', tostring(now), 'full', tostring(full))
redis.call('EXPIRE', KEYS[1], math.ceil(burst / rate) + 1)
return {wait, math.floor((now - full) * 1000)}
"""


class RateLimiter:
    """Counts the calls of keys."""

    def __init__(self, redis_url: str) -> None:
        self._redis = _client(redis_url)
        self._take: Any = self._redis.register_script(_TAKE)
        self._silent_until = 0.0
        self._lock = threading.Lock()

    def check(self, access_key_id: str, rate: float | None) -> None:
        """Count a call; raise what AWS answers when it is above the rate (calls per second, None: no limit)."""
        if rate is None or time.monotonic() < self._silent_until:
            return
        try:
            burst = max(_SMALLEST_BURST, rate * BURST_SECONDS)
            wait, busy = self._take(keys=[f"rekollect:rate:{access_key_id}"], args=[rate, burst])
        except redis.RedisError as error:
            with self._lock:
                self._silent_until = time.monotonic() + _BREAKER_SECONDS
            log.warning("rate_limit_failed_open", extra={"reason": type(error).__name__})
            return
        if wait:
            raise _refusal(int(wait), busy / 1000)


def _refusal(wait_milliseconds: int, busy_seconds: float) -> ServiceError:
    steady = busy_seconds > _STEADY_SECONDS
    error: ServiceError = ProvisionedThroughputExceeded() if steady else Throttled()
    error.retry_after_milliseconds = wait_milliseconds
    return error


def _client(url: str) -> "redis.Redis":
    options: dict[str, Any] = {
        "socket_timeout": _TIMEOUT_SECONDS,
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),  # a call waits once at most; the breaker is for what stays away
    }
    if url.startswith("redis+socket:"):  # Celery's word for what redis-py calls unix
        return redis.Redis(unix_socket_path=unquote(urlsplit(url).path), **options)
    return redis.Redis.from_url(url, **options)
