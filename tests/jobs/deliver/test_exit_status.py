"""How a delivery ended, in words that tell its reader what to do."""

from __future__ import annotations

import ast

import pytest

from delivery.call_statistics import CallStatistics
from delivery.control.dispatcher import DeliveryProgress
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import Response
from delivery.responses import NO_ANSWER
from jobs.deliver.achieved_rate import FullSeconds
from jobs.deliver.delivery_monitor import DeliveryResult
from jobs.deliver.exit_status import exit_of
from jobs.errors import ConfigurationError, Exit, UnfinishedError
from tests.jobs.processes import ROOT


class PythonException(Exception):  # noqa: N818 - as pyspark names what a task's own code raised
    pass


AMAZON = TrackerEndpoint("t", "eu-west-1", "https://personalize-events.eu-west-1.amazonaws.com", regional=True)
"""The region's own endpoint."""
GIVEN = TrackerEndpoint("t", "eu-west-1", "http://127.0.0.1:9")
NO_ZIP = (
    "the executors cannot import the project: 12,340 events are pending; "
    "give spark-submit --py-files clickstream_events.zip, "
    "and run this again"
)


def lacks(what: str) -> str:
    return (
        f"the executors' Python lacks {what}: 12,340 events are pending; install boto3 and pyarrow in the Python that"
    )


def sent(answer: Response | None = None, failure: Exception | None = None, answered: int = 7) -> DeliveryResult:
    return DeliveryResult(
        DeliveryProgress(0, 0, 1.0, 1.0, "", CallStatistics(answered=answered), 1), answer, failure, FullSeconds()
    )


def counters(pending: int = 12_340, dead: int = 0) -> dict[str, int]:
    return {"pending": pending, "deadLettered": dead}


@pytest.mark.parametrize(("dead", "code"), [(0, Exit.DONE), (3, Exit.DEAD_LETTERS)])
def test_all_that_was_to_be_sent_has_ended(dead: int, code: Exit) -> None:
    assert exit_of(sent(), counters(0, dead), AMAZON, interrupted=False) is code
    assert exit_of(None, counters(0, dead), AMAZON, interrupted=False) is code
    after_the_last_call = sent(failure=RuntimeError("all is lost"))
    assert exit_of(after_the_last_call, counters(0, dead), AMAZON, interrupted=False) is code


@pytest.mark.parametrize(
    ("answer", "error", "begins", "ends"),
    [
        (
            Response(404, "ResourceNotFoundException"),
            ConfigurationError,
            "the service answered ResourceNotFoundException (HTTP 404): 12,340 events are pending; ",
            "check the tracking id and the region, then run this again",
        ),
        (
            Response(403, "ExpiredTokenException"),
            ConfigurationError,
            "the service answered ExpiredTokenException (HTTP 403): 12,340 events are pending; ",
            "check the session token, which has expired, then run this again",
        ),
        (
            Response(None, "EndpointConnectionError"),
            UnfinishedError,
            "out of retries after EndpointConnectionError: 12,340 events are pending; ",
            "run this again, it resumes",
        ),
        (
            Response(None, "CredentialRetrievalError"),
            UnfinishedError,
            "the executors' source of AWS credentials gave none for too long: 12,340 events are pending; ",
            "run this again, it resumes",
        ),
        (
            Response(503, "ServiceUnavailable"),
            UnfinishedError,
            "out of retries after ServiceUnavailable (HTTP 503): 12,340 events are pending; ",
            "run this again, it resumes",
        ),
    ],
)
def test_an_answer_ended_it(answer: Response, error: type[Exception], begins: str, ends: str) -> None:
    for service in (AMAZON, GIVEN):
        with pytest.raises(error) as raised:
            exit_of(sent(answer), counters(), service, interrupted=False)
        assert str(raised.value) == begins + ends


@pytest.mark.parametrize(
    ("service", "error", "words"),
    [
        (
            GIVEN,
            ConfigurationError,
            (
                "check --endpoint-url, AWS_ENDPOINT_URL_PERSONALIZE_EVENTS, AWS_ENDPOINT_URL and the executors' way "
                "to it (network, proxy, certificates), then run this again"
            ),
        ),
        (
            AMAZON,
            UnfinishedError,
            (
                "run this again, it resumes; if it fails again, check the region and the executors' way to it "
                "(network, proxy, certificates)"
            ),
        ),
    ],
)
def test_where_nobody_ever_answers_amazon_may_come_back_and_a_given_endpoint_is_wrong(
    service: TrackerEndpoint, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as raised:
        exit_of(sent(Response(None, "EndpointConnectionError"), answered=0), counters(), service, interrupted=False)
    where = "Amazon Personalize in eu-west-1" if service.regional else "http://127.0.0.1:9"
    nobody = f"nobody answers at {where} (connection refused, or no such host): 12,340 events are pending; "
    assert str(raised.value) == nobody + words


@pytest.mark.parametrize("code", sorted(NO_ANSWER))
def test_why_nobody_answers_is_said_in_words(code: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        exit_of(sent(Response(None, code), answered=0), counters(), GIVEN, interrupted=False)
    assert code not in str(raised.value) and "HTTP none" not in str(raised.value)


def test_who_answers_in_the_services_place_is_named_by_its_url_without_a_password() -> None:
    service = TrackerEndpoint("t", "eu-west-1", "http://me:hush@127.0.0.1:9/x")
    with pytest.raises(ConfigurationError) as raised:
        exit_of(sent(Response(501, "NotTheService")), counters(), service, interrupted=False)
    assert str(raised.value).startswith(
        "a server other than Amazon Personalize answers at http://127.0.0.1:9/x (HTTP 501): 12,340 events are pending; "
    )


def test_what_an_executor_lacks_is_no_answer_of_the_service() -> None:
    with pytest.raises(ConfigurationError, match=r"^the executors cannot call the service: NoCredentialsError: "):
        exit_of(sent(Response(None, "NoCredentialsError"), answered=0), counters(), AMAZON, interrupted=False)


@pytest.mark.parametrize(
    ("failure", "error", "words"),
    [
        (RuntimeError("Python worker exited unexpectedly (crashed)"), UnfinishedError, "a Python worker died"),
        (RuntimeError("Job aborted: ExecutorLostFailure (executor 1 ..."), UnfinishedError, "an executor was lost"),
        (RuntimeError("user u-17"), UnfinishedError, "Spark's job failed (RuntimeError)"),
        (PythonException("... DriverNotReachedError ..."), ConfigurationError, "the tasks could not reach the driver"),
        (PythonException("ModuleNotFoundError: No module named 'delivery'"), ConfigurationError, NO_ZIP),
        (PythonException("ModuleNotFoundError: No module named 'delivery.task'"), ConfigurationError, NO_ZIP),
        (PythonException("ModuleNotFoundError: No module named 'boto3'"), ConfigurationError, lacks("boto3")),
        (PythonException("ModuleNotFoundError: No module named 'botocore'"), ConfigurationError, lacks("boto3")),
        (PythonException("ModuleNotFoundError: No module named 'pyarrow.lib'"), ConfigurationError, lacks("pyarrow")),
        (
            PythonException("ImportError: PyArrow >= 4.0.0 must be installed; however, your version was 1.0."),
            ConfigurationError,
            lacks("PyArrow, or has it too old"),
        ),
        (
            PythonException("[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.9 ..."),
            ConfigurationError,
            "the executors' Python has another version than the driver's: 12,340 events are pending; set PYSPARK",
        ),
        (
            RuntimeError('java.io.IOException: Cannot run program "/opt/python": error=2'),
            ConfigurationError,
            "the executors cannot start their Python: 12,340 events are pending; set PYSPARK_PYTHON to a Python",
        ),
        (PythonException("KeyError: u-17"), PythonException, "KeyError"),
    ],
)
def test_sparks_job_failed(failure: Exception, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        exit_of(sent(failure=failure), counters(), AMAZON, interrupted=False)
    assert str(raised.value).startswith(words)
    assert error is PythonException or "u-17" not in str(raised.value)


def test_somebody_ended_it() -> None:
    with pytest.raises(UnfinishedError, match=r"^interrupted: 12,340 events are pending; run this again, it resumes$"):
        exit_of(sent(failure=RuntimeError("all is lost")), counters(), AMAZON, interrupted=True)
    assert exit_of(sent(), counters(0), AMAZON, interrupted=True) is Exit.DONE


def test_what_a_retry_of_dead_letters_leaves_a_plain_run_sends() -> None:
    with pytest.raises(
        UnfinishedError,
        match=r"^12,340 events are pending that are not dead letters: run put_events without --retry-dead-letters",
    ):
        exit_of(sent(), counters(), AMAZON, interrupted=False, kind="dead-letters")
    with pytest.raises(UnfinishedError, match=r"^interrupted: 12,340 events are pending; run this again, it resumes$"):
        exit_of(sent(), counters(), AMAZON, interrupted=True, kind="dead-letters")


def test_the_dag_knows_the_exit_codes_by_the_jobs_numbers() -> None:
    tree = ast.parse((ROOT / "dags" / "clickstream_job.py").read_text())
    codes = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ExitCode")
    named = {ast.unparse(line.targets[0]): line.value for line in codes.body if isinstance(line, ast.Assign)}
    assert {name: ast.literal_eval(value) for name, value in named.items()}.items() <= Exit.__members__.items()
    assert named
