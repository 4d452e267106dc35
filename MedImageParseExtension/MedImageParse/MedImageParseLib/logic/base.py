"""What both Logics share: jobs in queues, waiting for them or not, and testing a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..progress import Cancellation, Progress
from .jobs import Job, JobQueue, nothing
from .runs import Connecting

if TYPE_CHECKING:
    from ..tasks.check_endpoint import CheckResult


class JobLogic:
    """A Logic whose work is jobs. Use it on the main thread.

    Args:
        queues: those that its jobs wait in; a job of one does not wait for those of another. The last one takes the questions.
        model: that `check` asks for, unless it is told another.
    """

    def __init__(self, *queues: JobQueue, model: str = "auto"):
        super().__init__()
        self._queues = queues
        self._model = model

    def check(
        self,
        *,
        model: str = "",
        callback: Callable[[Job], object] | None = None,
        cancellation: Cancellation | None = None,
        **connection: Any,
    ) -> CheckResult | Job:
        """Test a connection with a tiny made-up probe.

        Args:
            model: that should be there; "auto" for whichever it is, "" for the one that this Logic works with.
            callback: called with the Job when it has ended; see the class.
            cancellation: turned from any thread, it stops the test.
            connection: `endpoint`, a scoring URL, or `profile`, a stored profile's name, or `client`, a connection; and the options of
                profiles.options.ConnectionOptions.

        Returns:
            CheckResult, whose `sentence` is for the person; with a callback the Job.

        Raises:
            MedImageParseError: one sentence on what is wrong and what to do.
        """
        wanted = model or self._model
        connecting = Connecting.of(connection)

        def work(_prepared: object, progress: Progress, switch: Cancellation) -> CheckResult:
            from ..tasks.check_endpoint import check_endpoint

            with connecting.open(wanted, switch, sends_image_data=False) as client:
                return check_endpoint(client, wanted, progress=progress, cancellation=switch)

        return self._start(self._queues[-1], Job("Test connection", work=work), callback, cancellation)

    @property
    def jobs(self) -> list[Job]:
        """The jobs at work and those that wait, queue by queue."""
        return [job for queue in self._queues for job in queue.jobs]

    @property
    def isIdle(self) -> bool:
        """Nothing to do: polling may stop until the next call with a callback."""
        return all(queue.is_idle for queue in self._queues)

    def poll(self) -> None:
        """Move the jobs on; see jobs.JobQueue.poll."""
        for queue in self._queues:
            if not queue.is_idle:
                queue.poll()

    def cancel(self, job: Job) -> bool:
        """Stop one job; returns False where it had ended already. Nothing of it is left in the scene; what it has stored in an index is kept."""
        return any(queue.cancel(job) for queue in self._queues)

    def cancelAll(self, reason: str = "Cancelled.") -> None:
        """Stop every job.

        Args:
            reason: the sentence that each job keeps.
        """
        for queue in self._queues:
            queue.cancel_all(reason)

    def close(self) -> None:
        """Stop every job, end the workers and stop observing the scene. For the module's cleanup; safe to call twice."""
        for queue in self._queues:
            queue.close()

    def _start(self, queue: JobQueue, job: Job, callback: Callable[[Job], object] | None, cancellation: Cancellation | None) -> Any:
        # A switch of the job's own: turning it off with the job must not stop what else the person's switch is for.
        forget = cancellation.on_cancel(job.cancellation.cancel) if cancellation is not None else nothing
        job.callback = callback or nothing
        tidyUp = job.ended

        def ended(each: Job) -> None:
            forget()
            self._forgotten(each)
            tidyUp(each)

        job.ended = ended
        try:
            queue.add(job)
        except UsageError:
            ended(job)
            raise
        return job if callback is not None else queue.wait(job)

    def _forgotten(self, job: Job) -> None:
        """A job has ended: what is kept of it beside the queue goes."""
