"""The two kinds of failure every part of the pipelines tells apart.

Here: the two exception types and nothing else. What is retried, how often and what a run does with a failure
belongs to the caller.
"""

from __future__ import annotations


class PipelineFailure(Exception):  # noqa: N818  # the design calls them failures
    """A failure with one sentence that says what is wrong and one that says how to mend it."""

    def __init__(self, problem: str, mend: str) -> None:
        self.problem = problem
        self.mend = mend
        super().__init__(f"{problem} {mend}".strip())


class PermanentFailure(PipelineFailure):
    """Trying again cannot help: stop, keep everything, say what to do."""


class TransientFailure(PipelineFailure):
    """Trying again may help: a bounded retry with jitter, then treated as permanent."""
