"""The command line."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from emulator.faults import Faults
from emulator.settings import Settings

_DESCRIPTION = """\
A local Amazon Personalize PutEvents service. Give boto3 the printed URL as endpoint_url, and the keys below.
GET /_emulator/summary and /_emulator/events tell what was received; POST /_emulator/reset forgets it."""


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Return the settings that a command line asks for.

    Raises:
        SystemExit: 2, with one line on standard error, if the command line is wrong; 0 after `--help`.
    """
    parser = _Parser(
        prog="emulator",
        description=_DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_service_options(parser)
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


def _add_service_options(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    add = parser.add_argument
    add("--host", default=default.host, help="address to listen on")
    add("--port", type=int, default=8080, help="port to listen on; 0 takes any free one")
    add("--quota", type=int, default=default.quota, help="most calls in any one second; 0 for no limit")
    add("--latency-ms", type=float, default=default.latency_ms, help="milliseconds before a call is answered")
    add("--access-key", default=default.access_key, help="access key id that calls are signed for")
    add("--secret-key", default=default.secret_key, help="its secret; made up, never a real account's")
    add("--session-token", help="session token that calls must bear")
    add("--tracking-id", action="append", default=[], help="one that exists (repeatable); without any, all do")


def _add_fault_options(parser: argparse.ArgumentParser) -> None:
    default = Faults()
    group = parser.add_argument_group("faults", "rates are shares of the calls, from 0 to 1")
    add = group.add_argument
    add("--error-rate", type=float, default=default.error_rate, help="500 or 503, nothing accepted")
    add("--reset-before-rate", type=float, default=default.reset_before_rate, help="reset, nothing accepted")
    add("--reset-after-rate", type=float, default=default.reset_after_rate, help="reset, but events accepted")
    add("--poison-item", action="append", default=[], help="itemId that gets a call refused (repeatable)")
    add("--seed", type=int, default=default.seed, help="the same seed gives the same run of faults")


def _build_settings(chosen: argparse.Namespace) -> Settings:
    options = vars(chosen)
    faults = Faults(
        poison_items=frozenset(options.pop("poison_item")),
        **{name: options.pop(name) for name in ("error_rate", "reset_before_rate", "reset_after_rate", "seed")},
    )
    return Settings(tracking_ids=frozenset(options.pop("tracking_id")), faults=faults, **options)
