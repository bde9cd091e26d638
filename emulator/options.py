"""The command line."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import NoReturn

from emulator.faults import FAILURES, Faults
from emulator.metadata import FAULTS
from emulator.settings import EmulatorSettings

_DESCRIPTION = """\
A local Amazon Personalize PutEvents service. Give boto3 the printed URL as endpoint_url, and the keys below.
GET /_emulator/summary and /_emulator/events show what was received; POST /_emulator/reset forgets it.
POST /_emulator/settings changes the quota and the other client's rate: {"quota": 300, "otherRate": 100}."""


def parse_settings(arguments: Sequence[str]) -> EmulatorSettings:
    """Return the settings of a command line.

    Raises:
        SystemExit: 2, with one line on standard error, if the command line is wrong; 0 after `--help`.
    """
    parser = _Parser(prog="emulator", description=_DESCRIPTION, allow_abbrev=False, formatter_class=_HelpFormatter)
    _add_service_options(parser)
    _add_caller_options(parser)
    _add_fault_options(parser)
    chosen = parser.parse_args(arguments)
    try:
        return _build_settings(chosen)
    except ValueError as error:
        parser.error(str(error))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the usage."""
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        """Add the default to the help, if it says something."""
        worth = action.default not in (None, []) and action.default is not False
        return super()._get_help_string(action) if worth else action.help


def _add_service_options(parser: argparse.ArgumentParser) -> None:
    default = EmulatorSettings()
    add = parser.add_argument
    add("--host", default=default.host, help="address to listen on")
    add("--port", type=int, default=8080, help="port to listen on; 0 takes any free one")
    quota, other_rate = (
        "most calls in any one second; 0 for no limit",
        "calls a second of another client, which use up the quota",
    )
    add("--quota", type=int, default=default.quota, metavar="CALLS", help=quota)
    add("--other-rate", type=float, default=default.other_rate, metavar="CALLS", help=other_rate)
    latency = "milliseconds before a call is answered"
    add("--latency-ms", type=float, default=default.latency_ms, metavar="MS", help=latency)
    percentile = "99th percentile of log-normal latencies with the median --latency-ms; without it, all are equal"
    add("--latency-p99-ms", type=float, metavar="MS", help=percentile)


def _add_caller_options(parser: argparse.ArgumentParser) -> None:
    default = EmulatorSettings()
    add = parser.add_argument_group("callers", "who may call, and for what").add_argument
    add("--access-key", default=default.access_key, metavar="ID", help="access key id that must sign the calls")
    secret = "its secret; invented, never that of a real account"  # noqa: S105 - the option's help
    add("--secret-key", default=default.secret_key, metavar="KEY", help=secret)
    add("--session-token", metavar="TOKEN", help="session token of the calls; without it, they must not have one")
    lifetime = "accept any session token for so long after its first use, then refuse it as expired"
    add("--token-lifetime", type=float, metavar="SECONDS", help=lifetime)
    add("--deny", action="store_true", help="refuse every signed call because of missing rights")
    tracking_id = "a tracking id that exists (repeatable); without this option, all exist"
    add("--tracking-id", action="append", default=[], metavar="ID", help=tracking_id)
    port = "port of a metadata service that hands out the keys, like that of an instance or a container"
    add("--metadata-port", type=int, metavar="PORT", help=port)
    add("--metadata-fault", choices=FAULTS, default=default.metadata_fault, help="what the metadata service does")


def _add_fault_options(parser: argparse.ArgumentParser) -> None:
    default = Faults()
    group = parser.add_argument_group("faults", "rates are shares of the calls, from 0 to 1 and together at most 1")

    def add(option: str, about: str, metavar: str = "RATE") -> None:
        value = getattr(default, option.replace("-", "_"))
        group.add_argument(f"--{option}", type=type(value), default=value, metavar=metavar, help=about)

    add("error-rate", "500 or 503, nothing accepted")
    add("reset-before-rate", "connection reset, nothing accepted")
    add("reset-after-rate", "connection reset, but events accepted")
    add("hang-before-rate", "never answered, nothing accepted")
    add("hang-after-rate", "never answered, but events accepted")
    add("slow-body-rate", "accepted; the answer's body, 20 bytes, comes byte by byte")
    add("slow-body-ms", "milliseconds of such a body", "MS")
    item = "itemId whose calls are refused (repeatable)"
    group.add_argument("--poison-item", action="append", default=[], metavar="ID", help=item)
    add("poison-rate", "share of the events, chosen by a hash of the eventId, whose calls are refused")
    fail_item = "itemId whose calls never get an answer (repeatable)"
    group.add_argument("--fail-item", action="append", default=[], metavar="ID", help=fail_item)
    add("fail-rate", "share of the events, chosen by a hash of the eventId, whose calls never get an answer")
    fail_by = "what happens to such calls: a 500, a reset connection, or nothing"
    group.add_argument("--fail-by", choices=FAILURES, default=default.fail_by, help=fail_by)
    refuse_after = "number of calls after which each is refused with a 400, as by a deleted tracker; 0 refuses all"
    group.add_argument("--refuse-after", type=int, metavar="CALLS", help=refuse_after)
    add("seed", "the same seed gives the same faults and latencies", "N")


def _build_settings(chosen: argparse.Namespace) -> EmulatorSettings:
    options = vars(chosen)
    options["poison_items"] = frozenset(options.pop("poison_item"))
    options["fail_items"] = frozenset(options.pop("fail_item"))
    faults = Faults(**{field.name: options.pop(field.name) for field in fields(Faults)})
    return EmulatorSettings(tracking_ids=frozenset(options.pop("tracking_id")), faults=faults, **options)
