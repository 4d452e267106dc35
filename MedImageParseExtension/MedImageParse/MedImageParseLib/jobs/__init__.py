"""Work that a person waits for: a queue, one worker thread for bytes, main-thread steps for the scene, progress and cancel.

Plain Python: no Qt, no MRML. Whoever owns a timer on the main thread calls `JobQueue.poll()` every `queue.POLL_MS`.
"""
