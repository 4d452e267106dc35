"""The connection that a function of the API sends through: one of its own, or one that it is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .calls import in_sentences

if TYPE_CHECKING:
    from ..progress import Cancellation
    from ..transport.client import EndpointClient


@in_sentences
def connect(endpoint: str | None = None, profile: str | None = None, **options: Any) -> EndpointClient:
    """A connection to an endpoint; see `profiles.connection.connect`."""
    from ..profiles.connection import connect as make

    return make(endpoint, profile, **options)


@contextmanager
def connected(
    client: Any, endpoint: str | None, profile: str | None, model: str, cancellation: Cancellation | None, options: dict, **more: Any
) -> Iterator[Any]:
    """The connection given, which stays open, or one made for the block.

    Args:
        client: a connection, or None.
        endpoint: scoring URL, as `connect` takes it.
        profile: a stored profile, as `connect` takes it.
        model: that will be asked.
        cancellation: ends waiting for a sign-in.
        options: further options of `connect`, by name.
        more: what the caller adds to them.
    """
    if client is not None:
        yield client
        return
    own = connect(endpoint, profile, model=model, cancellation=cancellation, **options, **more)
    try:
        yield own
    finally:
        own.close()
