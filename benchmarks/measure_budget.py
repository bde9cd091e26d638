"""How a limit is kept and used: the calls that arrive at an emulator in a process of its own, second by second.

python benchmarks/measure_budget.py partitions    1, 2, 8, 32 and skewed partitions at a limit of 500, 50 ms away
python benchmarks/measure_budget.py quota         a quota of 60 % of the limit; half-way a second client eats of it
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from delivery.budget.target import Target
from delivery.http.service import Service
from jobs.frame.session import open_session
from jobs.sending.attendance import Sent, Watch
from jobs.sending.send import Pace, send

EVENT = (
    '{"eventId":"%s-%02d","eventType":"view","itemId":"item-%d","eventValue":12.5,'
    '"properties":"{\\"device\\":\\"ios\\"}","sentAt":1704067200.125}'
)
EDGE = 2
"""Seconds at either end that are left out of the mean: start-up, and a last second that is not full."""


@contextmanager
def emulator(*options: str) -> Iterator[str]:
    """Run an emulator in a process of its own; give its URL."""
    command = [sys.executable, "-m", "emulator", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        process.terminate()
        process.wait()


def ask(url: str, path: str) -> dict[str, Any]:
    """Get what the emulator tells of itself."""
    with urllib.request.urlopen(f"{url}/_emulator/{path}") as answer:  # noqa: S310 - on loopback
        return dict(json.load(answer))


def change(url: str, **settings: float) -> None:
    """Change the emulator while it runs."""
    request = urllib.request.Request(f"{url}/_emulator/settings", json.dumps(settings).encode(), method="POST")  # noqa: S310
    urllib.request.urlopen(request).close()  # noqa: S310 - on loopback


def parts(spark: SparkSession, sizes: list[int]) -> DataFrame:
    """Make requests of ten events, so many in each partition."""
    rows = [(number, each) for number, size in enumerate(sizes) for each in range(size)]
    frame = spark.createDataFrame(rows, "part INT, each INT")
    request = F.sha2(F.concat_ws("-", "part", "each"), 256)
    ids = [F.concat(request, F.lit(f"-{place:02d}")) for place in range(10)]
    events = [
        F.format_string(EVENT.replace("%02d", str(place)).replace("%d", str(place)), request) for place in range(10)
    ]
    requests = frame.select(
        "part",
        request.alias("requestId"),
        F.lit("u").alias("userId"),
        F.lit("s").alias("sessionId"),
        F.array(*ids).alias("eventIds"),
        F.array(*events).alias("events"),
        F.lit(None).cast("array<string>").alias("ended"),
    )
    return requests.repartitionByRange(len(sizes), "part").localCheckpoint()


def deliver(requests: DataFrame, url: str, limit: float) -> Sent:
    """Send them."""
    watch = Watch(lambda _rows: None, lambda: None, lambda _progress: None, threading.Event())
    return send(requests, Service("t", "eu-west-1", url), Pace(limit, 256, 0), Target(limit), watch)


def middle(per_second: dict[str, int]) -> list[int]:
    """Give the full seconds' counts."""
    seconds = sorted((int(second), count) for second, count in per_second.items())
    return [count for _, count in seconds][EDGE:-EDGE]


def measure_partitions(spark: SparkSession, limit: int, seconds: int) -> None:
    """Print the fullest second and the mean for several ways to partition."""
    total = limit * seconds
    skewed = [total // 2, *[total // 14] * 7]
    for name, sizes in {**{str(n): [total // n] * n for n in (1, 2, 8, 32)}, "skewed": skewed}.items():
        requests = parts(spark, sizes)
        with emulator("--latency-ms", "50") as url:
            sent = deliver(requests, url, limit)
            told = ask(url, "summary")
        full = middle(told["perSecond"])
        mean = sum(full) / len(full)
        whole = told["calls"] / (told["lastCallAt"] - told["firstCallAt"])
        print(
            f"{name:>7} partitions: fullest sliding second {told['maxArrivalsInASecond']} "
            f"({told['maxArrivalsInASecond'] / limit:.3f} of the limit), mean {mean:.1f} ({mean / limit:.3f}), "
            f"first to last call {whole:.1f} ({whole / limit:.3f}); {told['calls']} calls, {sent.seconds:.1f} s",
            flush=True,
        )


def measure_quota(spark: SparkSession, limit: int, seconds: int) -> None:
    """Print what is used of a quota of 60 % of the limit, and what is throttled after ten seconds."""
    quota = limit * 6 // 10
    requests = parts(spark, [quota * seconds // 2] * 2)
    with emulator("--latency-ms", "50", "--quota", str(quota)) as url:
        thread = threading.Thread(target=deliver, args=(requests, url, limit))
        thread.start()
        while not ask(url, "summary")["calls"]:
            time.sleep(0.05)
        time.sleep(10)
        before, since = ask(url, "summary"), time.monotonic()
        time.sleep(seconds - 15)
        after, span = ask(url, "summary"), time.monotonic() - since
        thread.join()
    calls, accepted = after["calls"] - before["calls"], after["accepted"] - before["accepted"]
    throttled = after["throttled"] - before["throttled"]
    print(
        f"quota {quota}, limit {limit}: after ten seconds, over {span:.0f} s: {accepted / span:.1f} a second accepted "
        f"({accepted / span / quota:.3f} of the quota), {throttled} of {calls} throttled ({throttled / calls:.4f})"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["partitions", "quota"])
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=40)
    given = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="AKIDEMULATOR", AWS_SECRET_ACCESS_KEY="emulator-secret")  # noqa: S106 - made up
    spark = open_session("measure_budget")
    what = measure_partitions if given.what == "partitions" else measure_quota
    what(spark, given.limit, given.seconds)
    spark.stop()


if __name__ == "__main__":
    main()
