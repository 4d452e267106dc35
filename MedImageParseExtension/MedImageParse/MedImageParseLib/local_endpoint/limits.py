"""What all requests together may cost the local endpoint: connections, bodies under way, and time.

One request is scored at a time, so what a request costs while it is scored (see protocol) is bounded by itself.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

MB = 1 << 20


@dataclass(slots=True, frozen=True)
class Limits:
    """Bounds of one server.

    Attributes:
        body_bytes: of one request, beyond which 413 is answered; as nginx in front of the real models has it.
        bodies_bytes: of all requests under way, beyond which 429 is answered.
        connections: open at once, each with a thread; one more is answered 429.
        header_s: seconds within which a request's line and headers must have come.
        body_s: seconds within which its body must have come.
        reply_s: seconds within which the reply must have been taken.
    """

    body_bytes: int = 100 * MB
    bodies_bytes: int = 256 * MB
    connections: int = 32
    header_s: float = 15.0
    body_s: float = 120.0
    reply_s: float = 120.0


class Budget:
    """Bytes that the bodies under way may take together; shared by all threads."""

    def __init__(self, most: int):
        self._most = most
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Take so many bytes. Returns False, and takes nothing, where they are not there."""
        with self._lock:
            if self._taken + count > self._most:
                return False
            self._taken += count
            return True

    def give_back(self, count: int) -> None:
        """Bytes that were taken are free again."""
        with self._lock:
            self._taken -= count


class TimedReader(io.RawIOBase):
    """What a socket brings, up to a moment: a client that sends a byte now and then keeps no thread for good.

    Args:
        connection: the socket.
        seconds: from now; `within` sets another moment.
    """

    def __init__(self, connection: socket.socket, seconds: float):
        self._connection = connection
        self._until = time.monotonic() + seconds

    def within(self, seconds: float) -> None:
        """From now on, what is still to come must come within so many seconds."""
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As io.RawIOBase. Raises TimeoutError when the time is over."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request did not come in time")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
