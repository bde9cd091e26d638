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

from delivery.http.proxy import Proxy, ProxySettingError, find_proxy
from delivery.http.service import Endpoint, Service, resolve
from delivery.http.trust import find_ca_bundle

SERVICE = Service("t-1", "eu-west-1")
URL = "https://personalize-events.eu-west-1.amazonaws.com/events"


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


def http_session(service: Service) -> Any:
    """Return what a boto3 client of the same environment would send by; only its private parts tell."""
    client = boto3.Session().client("personalize-events", region_name=service.region, endpoint_url=service.endpoint_url)
    return client._endpoint.http_session


# Where to.


@pytest.mark.parametrize(
    ("environment", "service", "url"),
    [
        pytest.param({}, SERVICE, URL, id="the region's own"),
        pytest.param({}, Service("t", "us-east-1"), URL.replace("eu-west-1", "us-east-1"), id="another region's"),
        pytest.param(
            {},
            Service("t", "cn-north-1"),
            "https://personalize-events.cn-north-1.amazonaws.com.cn/events",
            id="China's",
        ),
        pytest.param(
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            Service("t", "us-east-1"),
            "https://personalize-events-fips.us-east-1.amazonaws.com/events",
            id="FIPS",
        ),
        pytest.param(
            {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
            SERVICE,
            "https://personalize-events.eu-west-1.api.aws/events",
            id="dual stack",
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL": "http://any.example:81"}, SERVICE, "http://any.example:81/events", id="all services'"
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": "https://own.example/v1", "AWS_ENDPOINT_URL": "http://any.example"},
            SERVICE,
            "https://own.example/v1/events",
            id="the service's",
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": "https://own.example"},
            Service("t", "eu-west-1", "http://[::1]:8080"),
            "http://[::1]:8080/events",
            id="an argument",
        ),
    ],
)
def test_the_url_is_boto3s(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], service: Service, url: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    endpoint = resolve(service).endpoint
    assert (endpoint.url, endpoint.region, endpoint.signingName) == (url, service.region, "personalize")


def test_the_config_file_is_heard(configure: Callable[[str], None]) -> None:
    configure(
        "[default]\nservices = ours\n[services ours]\npersonalize_events =\n  endpoint_url = http://own.example:81\n"
    )
    assert resolve(SERVICE).endpoint.url == "http://own.example:81/events"


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
        resolve(Service("t", "eu-west-1", f"http://{host}:8080"))


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
    assert resolve(Service("t", "eu-west-1", "http://127.0.0.1:1")).endpoint.trust is None
    monkeypatch.setenv("AWS_CA_BUNDLE", str(get_cert_path(verify=True)))
    monkeypatch.setenv("HTTP_PROXY", "https://proxy.example")
    assert resolve(Service("t", "eu-west-1", "http://own.example")).endpoint.trust is not None


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
        resolve(Service("t", "eu-west-1", endpoint_url))
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
    with pytest.raises(BotoCoreError, match="not spoken to over http"):
        resolve(SERVICE)
