"""The options for the service and the speed of a delivery."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Final

from jobs.cli.arguments import check_not_blank, endpoint_url, in_flight, port, rate, tracking_id
from transforms.limits import CALLS_PER_SECOND

PUT_RATE: Final = CALLS_PER_SECOND // 2
"""The default of put_events' --max-rate, in calls a second."""
MAX_IN_FLIGHT: Final = 256


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """How a delivery is sent. Each field has the name of its option.

    Attributes:
        max_rate: calls a second of all tasks together, at most.
        max_in_flight: concurrent calls in each task, at most.
        channel_port: the driver's port for tasks; 0 for any free port.
        accept_failures: whether refused events become dead letters even if the service accepts no other event.
    """

    max_rate: float
    max_in_flight: int = MAX_IN_FLIGHT
    channel_port: int = 0
    accept_failures: bool = False


def add_service_options(parser: argparse.ArgumentParser, max_rate: int) -> None:
    """Add the options for the service and the speed.

    Args:
        parser: the job's.
        max_rate: the default, in calls a second.
    """
    add = parser.add_argument
    add("--tracking-id", required=True, type=tracking_id, metavar="ID", help="the event tracker's")
    add("--region", type=check_not_blank, metavar="R", help="AWS region (the default chain's)")
    add("--endpoint-url", type=endpoint_url, metavar="URL", help="another service than the region's, e.g. an emulator")
    add("--max-rate", type=rate, default=str(max_rate), metavar="N", help=f"calls a second, all tasks ({max_rate})")
    add(
        "--max-in-flight",
        type=in_flight,
        default=str(MAX_IN_FLIGHT),
        metavar="N",
        help=f"calls at once, in each task ({MAX_IN_FLIGHT})",
    )
    accept = "events that the service refuses or never answers become dead letters even if it accepts no other event"
    add("--accept-failures", action="store_true", help=accept)
    add("--channel-port", type=port, default="0", metavar="N", help="where tasks reach the driver (any free port)")


def read_delivery_config(options: argparse.Namespace) -> DeliveryConfig:
    """Make the config from the parsed options of `add_service_options`."""
    return DeliveryConfig(options.max_rate, options.max_in_flight, options.channel_port, options.accept_failures)


def describe_rate(max_rate: float) -> str:
    """Describe the maximum rate, and its share of the quota.

    Examples:
        >>> describe_rate(500).split(": ")[0]
        'at most 500 calls a second (--max-rate)'
        >>> describe_rate(500).split(": ")[1]
        'half of the quota of 1,000 a dataset group, which the live site shares'
        >>> describe_rate(300).split(": ")[1]
        '30 % of the quota of 1,000 a dataset group, which the live site shares'
        >>> describe_rate(1200)
        'at most 1,200 calls a second (--max-rate): more than the published quota of 1,000 a dataset group'
    """
    limit = f"at most {max_rate:,g} calls a second (--max-rate)"
    quota = f"quota of {CALLS_PER_SECOND:,} a dataset group"
    share = max_rate / CALLS_PER_SECOND
    if share > 1:
        return f"{limit}: more than the published {quota}"
    words = "all" if share == 1 else "half" if share == 0.5 else f"{100 * share:.3g} %"
    return f"{limit}: {words} of the {quota}, which the live site shares"


def write_put_options(config: DeliveryConfig) -> str:
    """Write the options that differ from put_events' defaults.

    Examples:
        >>> write_put_options(DeliveryConfig(300.0, channel_port=40_000)), write_put_options(DeliveryConfig(500.0))
        (' --max-rate 300 --channel-port 40000', '')
    """
    max_rate = int(config.max_rate) if float(config.max_rate).is_integer() else config.max_rate
    usual = DeliveryConfig(PUT_RATE)
    options = [
        ("--max-rate", max_rate, usual.max_rate),
        ("--max-in-flight", config.max_in_flight, usual.max_in_flight),
        ("--channel-port", config.channel_port, usual.channel_port),
    ]
    written = [f" {name} {value}" for name, value, default in options if value != default]
    return "".join([*written, *([" --accept-failures"] if config.accept_failures else [])])
