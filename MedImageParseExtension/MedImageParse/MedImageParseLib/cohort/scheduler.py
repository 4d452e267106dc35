"""The cases of a batch on the workers of a Dask scheduler (dask.distributed), with the same account and the same guarantees.

The scheduler and the workers have this package installed. The workers see the same folders as this computer, and sign in by themselves (MEDIMAGEPARSE_KEY in their
environment, or a key file that they can read): no key goes through the scheduler. A case whose worker dies is given to another one, which
finds the replies that have come, also those that the dead worker's sender was still waiting for (see `courier`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..errors import EndpointError, UsageError
from ..packages import require
from ..progress import Cancellation

_PATIENCE_S = 20  # for the scheduler to answer and a worker to be there
_LOOK_S = 0.5  # how soon an interrupt is heeded


@dataclass(slots=True, frozen=True)
class Job:
    """A case to do: its id, and what the worker is told, plain values only."""

    id: str
    told: dict


def run_on_cluster(
    address: str,
    jobs: Iterable[Job],
    work: Callable[[dict], dict],
    took: Callable[[Job, dict], None],
    failed: Callable[[Job, EndpointError], dict],
    *,
    at_once: int,
    is_stopped: Callable[[], bool],
    cancellation: Cancellation,
) -> None:
    """Do jobs on a cluster, at most `at_once` at a time.

    Args:
        address: of the scheduler, such as tcp://host:8786.
        jobs: what to do, taken as there is room.
        work: done on a worker; importable there.
        took: told each job's result here.
        failed: makes the result of a job that no worker could finish.
        at_once: most jobs given out at the same time.
        is_stopped: whether no more are to be given out.
        cancellation: stops it; what a worker has begun it ends, and its replies are kept.

    Raises:
        UsageError: no scheduler, no worker, or workers without this version of the package. Cancelled.
    """
    require("distributed", "a Dask scheduler")
    from distributed import wait

    client = _connected(address)
    try:
        _check_workers(client)
        coming = iter(jobs)
        out: dict[Any, Job] = {}
        while True:
            for job in _taken(coming, at_once - len(out), is_stopped):
                out[client.submit(work, job.told, key=f"medimageparse-{job.id}-{uuid.uuid4().hex[:8]}", pure=False)] = job
            if not out:
                return
            cancellation.check()
            try:
                with client.as_current():
                    ended = wait(list(out), timeout=_LOOK_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            for future in ended:
                job = out.pop(future)
                took(job, _result_of(future, job, failed))
    finally:
        client.close()  # forgets the jobs that are out, too


def _taken(coming: Iterator[Job], room: int, is_stopped: Callable[[], bool]) -> Iterator[Job]:
    while room > 0 and not is_stopped():
        job = next(coming, None)
        if job is None:
            return
        room -= 1
        yield job


def _result_of(future: Any, job: Job, failed: Callable[[Job, EndpointError], dict]) -> dict:
    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else None
    why = type(error).__name__ if error else future.status
    return failed(
        job, EndpointError("No worker of the scheduler could finish this case ({why}); see the workers' logs.", why=why, code="worker")
    )


def _connected(address: str) -> Any:
    from distributed import Client
    from distributed.comm import get_address_host_port

    try:
        get_address_host_port(address)  # a client of an address that is none never ends, and says so at the end of the program
        return Client(address, timeout=_PATIENCE_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            "No Dask scheduler answers at {address}; start one with `dask scheduler` and give its address, such as tcp://host:8786.",
            address=address,
        ) from error


def _version() -> str:
    return __version__


def _check_workers(client: Any) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE_S)
    except TimeoutError as error:
        raise UsageError("The Dask scheduler has no workers; start some with `dask worker`.") from error
    try:
        versions = {client.run_on_scheduler(_version), *client.run(_version).values()}  # it unpacks the jobs before it gives them out
    except Exception as error:  # whatever unpickling raised on the other side
        raise UsageError(
            "The Dask scheduler or its workers cannot load medimageparse ({kind}); install it there with pip.", kind=type(error).__name__
        ) from error
    if versions != {__version__}:
        raise UsageError(
            "The Dask scheduler and its workers have medimageparse {theirs}, and here it is {ours}; install the same version everywhere.",
            theirs=", ".join(sorted(versions)),
            ours=__version__,
        )
