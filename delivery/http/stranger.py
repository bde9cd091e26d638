"""Whether it is the service that answers at an endpoint that somebody has written down, or somebody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from delivery.answers import Meaning, meaning
from delivery.http.faults import NOT_THE_SERVICE
from delivery.records import Answer

_ENOUGH: Final = 5
"""Answers without a request id, of none with one, after which a web server that fails is none of the service's."""


class StrangerDetector:
    """Reads answers in the light of those before: each of the service's own bears a request id.

    Args:
        may_be: the endpoint may be anybody's. At the region's own, a load balancer may fail before the service does.

    Examples:
        >>> detector = StrangerDetector(may_be=True)
        >>> detector.judge(Answer(404, "404")).errorCode
        'NotTheService'
        >>> [detector.judge(Answer(502, "502")).errorCode for _ in range(4)][-2:]
        ['502', 'NotTheService']
    """

    def __init__(self, *, may_be: bool) -> None:
        self._may_be = may_be
        self._answers = 0

    def judge(self, answer: Answer) -> Answer:
        """Return the answer, or one that says that it is not the service's."""
        if answer.awsRequestId is not None:
            self._may_be = False
        if not self._may_be:
            return answer
        self._answers += 1
        what = meaning(answer)
        is_nameless = (answer.errorCode or "").isdigit()
        is_failing = what in {Meaning.FAULT, Meaning.THROTTLED} and self._answers >= _ENOUGH
        if is_failing or (what is Meaning.STOP and is_nameless):
            return replace(answer, errorCode=NOT_THE_SERVICE, errorMessage=None)
        return answer
