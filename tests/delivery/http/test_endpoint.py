"""What is called is what boto3 would call: URL, User-Agent, proxy, certificates, credentials; or it is told why not."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.session import Session

from delivery.http.endpoint import Endpoint, TrackerEndpoint, comparable, find_ca_bundle, find_tracker_endpoint, resolve
from delivery.http.proxy import Proxy, ProxySettingError, find_proxy

HOST = "https://personalize-events.eu-west-1.amazonaws.com"
SERVICE = TrackerEndpoint("t-1", "eu-west-1", HOST, regional=True)
URL = f"{HOST}/events"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that sets the text of the AWS config file."""

    def write(text: str) -> None:
        (tmp_path / "config").write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    return write


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def http_session(service: TrackerEndpoint) -> Any:
    """Return what a boto3 client of the same environment would send by; only its private parts tell."""
    client = boto3.Session().client("personalize-events", region_name=service.region, endpoint_url=service.endpoint_url)
    return client._endpoint.http_session


# Where to.


OWN = "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS"
EVENTS = "https://personalize-events"


@pytest.mark.parametrize(
    ("environment", "region", "given", "url", "regional"),
    [
        pytest.param({}, "eu-west-1", None, HOST, True, id="the region's own"),
        pytest.param({}, "cn-north-1", None, f"{EVENTS}.cn-north-1.amazonaws.com.cn", True, id="China's"),
        pytest.param(
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            "us-east-1",
            None,
            f"{EVENTS}-fips.us-east-1.amazonaws.com",
            True,
            id="FIPS",
        ),
        pytest.param({}, "fips-us-east-1", None, f"{EVENTS}-fips.us-east-1.amazonaws.com", True, id="FIPS by region"),
        pytest.param(
            {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
            "eu-west-1",
            None,
            f"{EVENTS}.eu-west-1.api.aws",
            True,
            id="dual stack",
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL": "http://any.example:81"}, "eu-west-1", None, "http://any.example:81", False, id="all's"
        ),
        pytest.param(
            {OWN: "https://own.example/v1", "AWS_ENDPOINT_URL": "http://any.example"},
            "eu-west-1",
            None,
            "https://own.example/v1",
            False,
            id="the service's",
        ),
        pytest.param(
            {OWN: "https://own.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "eu-west-1",
            None,
            HOST,
            True,
            id="ignored",
        ),
        pytest.param(
            {OWN: "https://own.example"}, "eu-west-1", "http://[::1]:8080", "http://[::1]:8080", False, id="an argument"
        ),
        pytest.param(
            {}, "eu-west-1", f"{HOST.upper()}:443/", f"{HOST.upper()}:443/", True, id="the region's own, given"
        ),
    ],
)
def test_the_driver_finds_the_url_as_boto3_does_without_credentials(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    region: str,
    given: str | None,
    url: str,
    regional: bool,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("botocore.session.Session.get_credentials", refuse)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = find_tracker_endpoint("t", region, given)
    assert (found.endpoint_url, found.region, found.regional) == (url, region.removeprefix("fips-"), regional)


def refuse(*_: object) -> None:
    raise AssertionError("somebody looks for credentials")


def test_the_config_file_is_heard(configure: Callable[[str], None]) -> None:
    configure(
        "[default]\nservices = ours\n[services ours]\npersonalize_events =\n  endpoint_url = http://own.example:81\n"
    )
    assert find_tracker_endpoint("t", "eu-west-1").endpoint_url == "http://own.example:81"


@pytest.mark.parametrize("service", [SERVICE, TrackerEndpoint("t", "us-east-1", "http://own.example:81/v1/")])
@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_ENDPOINT_URL": "http://another.example"},
        {OWN: "http://another.example"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "ap-south-1"},
        {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        {"AWS_ENDPOINT_URL": "nonsense", "AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    ],
)
def test_a_task_calls_just_what_the_driver_has_found_whatever_its_own_environment_says(
    monkeypatch: pytest.MonkeyPatch, service: TrackerEndpoint, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    endpoint = resolve(service).endpoint
    assert endpoint.url == service.endpoint_url.rstrip("/") + "/events"
    assert (endpoint.region, endpoint.signingName) == (service.region, "personalize")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://h", "HTTP://H:80/", True),
        ("https://own.example/v1", "https://me:hush@OWN.example.:443/v1//", True),
        ("http://[::1]:8080", "http://[::1]:8080/", True),
        ("http://h", "https://h", False),
        ("http://h:443", "https://h:443", False),
        ("http://h", "http://h:8080", False),
        ("http://h/v1", "http://h/V1", False),
        ("http://h/?tenant=a", "http://h/?tenant=b", False),
    ],
)
def test_trackers_are_told_apart_as_urls_compare(one: str, other: str, same: bool) -> None:
    keys = {TrackerEndpoint("t", "r", url).key for url in (one, other)}
    assert len(keys) == (1 if same else 2)


def test_region_and_tracking_id_tell_trackers_apart_too() -> None:
    keys = {TrackerEndpoint(*names, "http://h").key for names in (("t", "r"), ("t", "s"), ("u", "r"))}
    assert len(keys) == 3


def test_a_service_shows_no_password() -> None:
    service = TrackerEndpoint("t", "eu-west-1", "https://me:hush@own.example/v1?key=hush")
    assert "hush" not in repr(service) + service.endpoint and service.endpoint == "https://own.example/v1"
    assert comparable(service.endpoint_url).netloc == "own.example"


def test_the_headers_are_boto3s() -> None:
    endpoint = resolve(SERVICE).endpoint
    assert endpoint.contentType == "application/json"
    assert endpoint.userAgent.startswith(f"Boto3/{boto3.__version__} ")


def test_a_call_is_resolved_without_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("somebody connects")

    monkeypatch.setattr("socket.socket.connect", connect)
    assert resolve(SERVICE).endpoint.url == URL


# By what way.


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://proxy.example:3128"}, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, Proxy("proxy.example", 3128)),
        ({"https_proxy": "proxy.example:3128"}, Proxy("proxy.example", 3128)),
        ({"HTTPS_PROXY": "//proxy.example"}, Proxy("proxy.example", 80)),
        ({"HTTPS_PROXY": "https://proxy.example"}, Proxy("proxy.example", 443, tls=True)),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, Proxy("::1", 3128)),
        ({"HTTPS_PROXY": "http://me@proxy.example:3128"}, Proxy("proxy.example", 3128)),
        (
            {"HTTPS_PROXY": "http://me:p%40ss@proxy.example:3128"},
            Proxy("proxy.example", 3128, authorization="Basic bWU6cEBzcw=="),  # me:p@ss
        ),
        ({"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": "a.example,.amazonaws.com"}, None),
        ({"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": ""}, None),
    ],
)
def test_the_proxy_is_boto3s(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: Proxy | None) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert resolve(SERVICE).endpoint.proxy == proxy
    theirs = http_session(SERVICE)._proxy_config
    told = theirs.proxy_url_for(URL) or None
    assert (told is None) == (proxy is None)
    authorization = theirs.proxy_headers_for(told).get("Proxy-Authorization") if told else None
    assert authorization == (proxy.authorization if proxy else None)


def test_an_http_endpoint_has_the_proxy_of_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://one.example:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://two.example:2")
    assert find_proxy("http://own.example/events") == Proxy("one.example", 1)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    "value",
    [
        *(
            "http://proxy..corp:3128",
            "proxy..corp",
            "http://.corp",
            "http://" + "x" * 64 + ".corp:1",
            "http://pro xy:1",
        ),
        *("http://proxy:70000", "http://proxy:0", "http://proxy:port", "http://proxy:-1", "http://[::1:3128"),
        *("http://", "http://:3128", "http://user:secret@", "socks5://proxy:1080", "socks5h://user:secret@proxy"),
        *(
            "ftp://proxy",
            "://proxy",
            "http://\u2024\u2024:1",
            "http://pro\udcffxy",
            "http://a:\udcff@b:1",
        ),
    ],
)
def test_what_is_no_proxy_is_told_with_the_variable_and_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ProxySettingError) as raised:
        resolve(SERVICE)
    assert str(raised.value).startswith(f"{name}: ")
    assert "secret" not in str(raised.value) and "corp" not in str(raised.value)


@pytest.mark.parametrize("past", ["", ",", "*.", "[::", "10.0.0.0/8", "\udcff", "a" * 1_000, " , .", "host:port"])
def test_an_odd_list_of_hosts_without_proxy_is_boto3s_affair(monkeypatch: pytest.MonkeyPatch, past: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", past)
    assert resolve(SERVICE).endpoint.proxy == Proxy("proxy.example", 3128)


def test_a_proxy_of_another_scheme_may_be_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy..corp")
    assert resolve(SERVICE).endpoint.proxy is None


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "a_b c"])
def test_an_endpoint_that_nobody_can_look_up_is_told(host: str) -> None:
    with pytest.raises(BotoCoreError):
        resolve(TrackerEndpoint("t", "eu-west-1", f"http://{host}:8080"))


# Trusting whom.


@pytest.mark.parametrize(
    ("environment", "config", "expected"),
    [
        pytest.param({}, "", None, id="botocore's own"),
        pytest.param({"REQUESTS_CA_BUNDLE": "ours"}, "", "ours", id="of requests"),
        pytest.param({"REQUESTS_CA_BUNDLE": "not-ours"}, "ca_bundle = ours", "ours", id="of the config file"),
        pytest.param({"AWS_CA_BUNDLE": "ours"}, "ca_bundle = not-ours", "ours", id="of AWS"),
    ],
)
def test_the_trusted_certificates_are_boto3s(
    monkeypatch: pytest.MonkeyPatch,
    configure: Callable[[str], None],
    environment: dict[str, str],
    config: str,
    expected: str | None,
) -> None:
    configure(f"[default]\n{config}\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = find_ca_bundle(Session())
    assert found == get_cert_path(http_session(SERVICE)._verify)
    assert expected in (None, found)


def test_certificates_are_checked_against_the_bundle_alone(monkeypatch: pytest.MonkeyPatch, bundle: str) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
    trust = resolve(SERVICE).endpoint.trust
    assert trust is not None
    assert (trust.check_hostname, trust.verify_mode.name, trust.minimum_version.name) == (
        True,
        "CERT_REQUIRED",
        "TLSv1_2",
    )
    (certificate,) = trust.get_ca_certs()
    assert "trustme" in str(certificate["subject"])


def test_an_http_endpoint_needs_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    assert resolve(TrackerEndpoint("t", "eu-west-1", "http://127.0.0.1:1")).endpoint.trust is None
    monkeypatch.setenv("AWS_CA_BUNDLE", str(get_cert_path(verify=True)))
    monkeypatch.setenv("HTTP_PROXY", "https://proxy.example")
    assert resolve(TrackerEndpoint("t", "eu-west-1", "http://own.example")).endpoint.trust is not None


# With what keys.


def test_a_session_token_comes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-1")
    credentials = resolve(SERVICE).credentials
    assert (credentials.access_key, credentials.token) == ("AKIDEMULATOR", "token-1")


def test_a_command_of_a_profile_gives_the_keys(
    monkeypatch: pytest.MonkeyPatch, configure: Callable[[str], None], tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "ours")
    told = {"Version": 1, "AccessKeyId": "AKIDPROCESS", "SecretAccessKey": "s", "SessionToken": "t"}
    (tmp_path / "keys.json").write_text(json.dumps(told | {"Expiration": "2199-01-01T00:00:00Z"}))
    configure(f"[profile ours]\ncredential_process = cat {tmp_path / 'keys.json'}\n")
    assert resolve(SERVICE).credentials.access_key == "AKIDPROCESS"


# What is wrong is told.


@pytest.mark.parametrize(
    ("environment", "endpoint_url", "told"),
    [
        pytest.param({"AWS_ACCESS_KEY_ID": ""}, None, "Unable to locate credentials", id="no credentials"),
        pytest.param({"AWS_SECRET_ACCESS_KEY": ""}, None, "Partial credentials found", id="half a pair"),
        pytest.param({"AWS_PROFILE": "nobody"}, None, "nobody", id="no such profile"),
        pytest.param({"AWS_SESSION_TOKEN": "hush\n"}, None, "session token", id="a line break behind a token"),
        pytest.param({}, "personalize.example", "personalize.example", id="no URL"),
        pytest.param({}, "https://", "https://", id="no host"),
        pytest.param({}, "https://a b.example", "a b.example", id="no host's name"),
        pytest.param({"AWS_ENDPOINT_URL": "nonsense"}, None, "nonsense", id="no URL in the environment"),
        pytest.param({"AWS_ENDPOINT_URL": "http://me:hu/sh@h"}, None, "port", id="a password for a port"),
        pytest.param({OWN: "ftp://me:hush@h"}, None, "http or https", id="a password in no URL of http"),
        pytest.param({OWN: "http://me:hush@a b"}, None, "not a URL that can be called", id="a password in no URL"),
        pytest.param({"AWS_CA_BUNDLE": "/nowhere/ca.pem"}, None, "/nowhere/ca.pem", id="no bundle"),
        pytest.param({"AWS_CA_BUNDLE": os.devnull}, None, os.devnull, id="an empty bundle"),
        pytest.param({"REQUESTS_CA_BUNDLE": " "}, None, "CA bundle", id="a blank bundle"),
        pytest.param({"HTTPS_PROXY": "socks5://proxy.example:hush"}, None, "HTTPS_PROXY", id="no HTTP proxy"),
        pytest.param({"HTTPS_PROXY": "http://me:hu#sh@proxy.example"}, None, "HTTPS_PROXY", id="a password unquoted"),
    ],
)
def test_a_wrong_set_up_is_told_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], endpoint_url: str | None, told: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BotoCoreError) as raised:
        resolve(find_tracker_endpoint("t", "eu-west-1", endpoint_url))
    assert told in str(raised.value)
    assert "hu" not in str(raised.value)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(f"{sys.executable} -c 'raise SystemExit(1)'", id="fails"),
        pytest.param("echo nonsense", id="tells no JSON"),
        pytest.param("echo {}", id="tells nothing"),
        pytest.param("/nowhere/command", id="is not there"),
    ],
)
def test_a_command_that_gives_no_keys_is_told(
    monkeypatch: pytest.MonkeyPatch, configure: Callable[[str], None], command: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "ours")
    configure(f"[profile ours]\ncredential_process = {command}\n")
    with pytest.raises(BotoCoreError):
        resolve(SERVICE)


def test_an_endpoint_shows_no_password() -> None:
    proxy = Proxy("proxy", 3128, authorization="Basic bWU6c2VjcmV0")
    assert "bWU6c2VjcmV0" not in repr(Endpoint(URL, "eu-west-1", "personalize", "Boto3", "application/json", proxy))


def test_an_endpoint_of_the_environment_that_is_not_spoken_to_over_http_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "ftp://service.example")
    with pytest.raises(BotoCoreError, match="does not use http"):
        find_tracker_endpoint("t", "eu-west-1")
