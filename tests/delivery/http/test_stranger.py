"""Who answers at an endpoint: the service, or a web server that knows nothing of it."""

from __future__ import annotations

import pytest

from delivery.http.client import StrangerDetector
from delivery.http.endpoint import Endpoint
from delivery.model import Response
from delivery.responses import ResponseMeaning, interpret_response

GONE = Response(503, "503")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_at_the_regions_own_endpoint_a_load_balancer_may_fail_for_long(status: int) -> None:
    detector = StrangerDetector(may_be=False)
    assert {interpret_response(detector.judge(Response(status, str(status)))) for _ in range(50)} <= {
        ResponseMeaning.FAULT,
        ResponseMeaning.THROTTLED,
    }


def test_a_service_that_has_answered_once_may_be_out_of_reach_later() -> None:
    detector = StrangerDetector(may_be=True)
    assert (
        detector.judge(Response(400, "InvalidInputException", awsRequestId="a-1")).errorCode == "InvalidInputException"
    )
    assert {detector.judge(GONE).errorCode for _ in range(50)} == {"503"}


def test_a_code_of_the_services_is_left_as_it_is() -> None:
    denied = Response(403, "AccessDeniedException")
    assert StrangerDetector(may_be=True).judge(denied) == denied


@pytest.mark.parametrize(
    ("url", "amazons"),
    [
        ("https://personalize-events.eu-west-1.amazonaws.com/events", True),
        ("https://personalize-events.eu-west-1.api.aws/events", True),
        ("https://vpce-1.personalize-events.eu-west-1.vpce.amazonaws.com/events", True),
        ("http://127.0.0.1:8080/events", False),
        ("https://events.example.com/events", False),
    ],
)
def test_the_regions_own_endpoints_are_known_by_their_names(url: str, amazons: bool) -> None:
    assert Endpoint(url, "eu-west-1", "personalize", "agent", "json").is_amazons is amazons
