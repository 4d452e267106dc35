"""What an endpoint on this very computer says of itself: who answers there, which values it wants, and how long it takes.

The local endpoint has it in its `/swagger.json` ("x-engine"). Azure ML's containers and `mlflow models serve` have no such entry, and of
them nothing is known. Only this computer is asked, without a key: no other host hears more than the requests themselves.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from ..models import MODEL_NAMES
from ..redaction import redactor
from .address import Address

HOUNSFIELD = "HU"
_WANTS = ("any", HOUNSFIELD, "8 bits")
_PATIENCE_S = 4.0  # more than the server waits for an engine that has only just been started
_LONGEST = 1 << 18  # bytes of the description
_LONGEST_WORD = 120
_SLOWEST = 86400.0  # seconds a slice that are believed
_UNKNOWN_S = 3600.0  # for an engine that makes no estimate: a GPU may need seconds, a processor the better part of an hour
_LONGEST_WAIT_S = 86400.0 * 7
_MARGIN = 3.0  # an estimate from another computer
_LOADING_S = 190.0  # what a request may wait for the weights, and what it may wait without any engine


@dataclass(slots=True, frozen=True)
class About:
    """A local engine, as it describes itself.

    Attributes:
        name: as in `serve --engine NAME`.
        title, version, licence: for people.
        device: "cpu", "cuda:0 (NVIDIA …)"; "" where it has none to choose, or is still loading.
        weights: a fingerprint of its weights; "" where it has none.
        wants: "any", "HU" or "8 bits": the values that it needs of a CT.
        seconds_a_slice: its own estimate for a slice and prompt, or a picture; 0 where it makes none.
    """

    name: str
    title: str = ""
    version: str = ""
    licence: str = ""
    device: str = ""
    weights: str = ""
    wants: str = "any"
    seconds_a_slice: float = 0.0

    @property
    def wants_hounsfield(self) -> bool:
        """Whether a CT must be sent as it is, in Hounsfield units."""
        return self.wants == HOUNSFIELD

    @property
    def shown(self) -> str:
        """Title and version, for sentences."""
        return " ".join(filter(None, (self.title or self.name, self.version)))

    def reply_timeout(self, work: int, at_once: int) -> float:
        """Seconds that are worth waiting for the reply to a request.

        Args:
            work: slices times prompts, or pictures, that it asks for.
            at_once: requests that may be at the endpoint together; it works on them one after the other.
        """
        if not self.seconds_a_slice:
            return _UNKNOWN_S
        return min(_LOADING_S + _MARGIN * self.seconds_a_slice * max(1, work) * max(1, at_once), _LONGEST_WAIT_S)

    def to_json(self) -> dict[str, Any]:
        """Every attribute, for the report."""
        return asdict(self)


def ask(address: Address) -> About | None:
    """What an endpoint says of itself; None where it says nothing, is another computer, or does not answer at once.

    Args:
        address: the endpoint's.
    """
    if not address.is_loopback or address.is_https:
        return None
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_PATIENCE_S)
    try:
        connection.connect()
    except OSError:
        return None
    # The connection's own timeout begins anew with every byte.
    end = threading.Timer(_PATIENCE_S, _hang_up, [connection.sock])
    end.daemon = True
    end.start()
    try:
        connection.request("GET", _description(urlsplit(address.url).path), headers={"Accept": "application/json", "Connection": "close"})
        reply = connection.getresponse()
        body = reply.read(_LONGEST + 1) if reply.status == 200 else b""
        return _about(json.loads(body)["x-engine"]) if 0 < len(body) <= _LONGEST else None
    except (OSError, http.client.HTTPException, ValueError, TypeError, AttributeError, OverflowError, KeyError, RecursionError):
        return None
    finally:
        end.cancel()
        connection.close()


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # closed in the meantime
        connection.shutdown(socket.SHUT_RDWR)


def _description(path: str) -> str:
    """Where a server whose scoring route is `path` would have its description."""
    parts = path.rstrip("/").split("/")
    if parts[-1] in ("score", "invocations"):
        parts.pop()
    if parts and parts[-1] in MODEL_NAMES:
        parts.pop()
    return "/".join([*parts, "swagger.json"]) if parts else "/swagger.json"


def _about(said: Mapping[str, Any]) -> About:
    """Its values, none of which is believed beyond what it can mean. Raises TypeError, ValueError or KeyError."""

    def word(key: str) -> str:
        value = said.get(key, "")
        return redactor.quote(value, _LONGEST_WORD) if isinstance(value, str) else ""

    seconds = said.get("seconds_a_slice", 0.0)
    is_number = isinstance(seconds, (int, float)) and 0 <= seconds <= _SLOWEST
    wants = said.get("wants", "any")
    words = {key: word(key) for key in ("title", "version", "licence", "device", "weights")}
    return About(word("name"), **words, wants=wants if wants in _WANTS else "any", seconds_a_slice=float(seconds) if is_number else 0.0)
