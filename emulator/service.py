"""PutEvents: what becomes of a call."""

import random
from typing import Any

from emulator.book import Book
from emulator.faults import Fault, draw_fault, is_poisoned
from emulator.judge import load_judge
from emulator.messages import Reply, Request, refuse
from emulator.refusal import Refusal
from emulator.settings import Clock, Settings
from emulator.signature import Verifier
from emulator.window import Window


class Service:
    """The PutEvents operation, apart from any network.

    Attributes:
        book: what was received since the start or the last reset.
        window: the quota, and how full it ever was.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Set up as `settings` say, with the time from `clock`."""
        self._settings = settings
        self._clock = clock
        self._verifier = Verifier(settings)
        self._judge = load_judge()
        self._delay = settings.latency_ms / 1000.0
        self.reset()

    def reset(self) -> None:
        """Forget all calls; the quota's window and the run of faults start anew."""
        self.book = Book()
        self.window = Window(self._settings.quota)
        self._random = random.Random(self._settings.faults.seed)  # noqa: S311 - faults must be repeatable

    def put_events(self, request: Request) -> Reply:
        """Decide on a call and keep what is accepted.

        The order is the real service's: who calls, whether it may call now, then what it says. Injected
        faults strike admitted calls, which use up the quota as they would there.
        """
        now = self._clock.wall()
        self.book.arrive(now)
        try:
            self._verifier.verify(request, now)
            return self._admit(request, now)
        except Refusal as refusal:
            self.book.refused[refusal.code] += 1
            return refuse(refusal, self._delay)

    def _admit(self, request: Request, now: float) -> Reply:
        if not self.window.admit(self._clock.steady()):
            self.book.throttled += 1
            # AWS's own services throttle with 400, not with 429.
            return refuse(Refusal("ThrottlingException", "Rate exceeded"), self._delay)
        self.book.admitted_per_second[int(now)] += 1
        fault = draw_fault(self._settings.faults, self._random.random())
        return self._fail(fault) or self._accept(request, now, fault)

    def _fail(self, fault: Fault | None) -> Reply | None:
        """Return what a fault before accepting does to the call, or None."""
        match fault:
            case Fault.INTERNAL_ERROR:
                reply = refuse(Refusal("InternalServerException", "An internal error occurred."), self._delay)
            case Fault.UNAVAILABLE:
                reply = refuse(Refusal("ServiceUnavailable", "The service is unavailable."), self._delay)
            case Fault.RESET_BEFORE:
                reply = Reply(delay=self._delay, reset=True)
            case _:
                return None
        self.book.faults[fault] += 1
        return reply

    def _accept(self, request: Request, now: float, fault: Fault | None) -> Reply:
        call = self._judge(request.body)
        self._check_tracking_id(call)
        self._check_poison(call)
        self.book.accepted.append((now, request.request_id, request.body))
        if fault is Fault.RESET_AFTER:
            self.book.faults[fault] += 1
            return Reply(delay=self._delay, reset=True)
        return Reply(delay=self._delay)

    def _check_tracking_id(self, call: dict[str, Any]) -> None:
        known = self._settings.tracking_ids
        if known and call["trackingId"] not in known:
            # Documented nowhere for PutEvents. Its sister operations (PutItems, PutUsers) model this code,
            # with 404, for a dataset that is not there, and it cannot be mistaken for a faulty event.
            raise Refusal("ResourceNotFoundException", "No event tracker has the given tracking ID.")

    def _check_poison(self, call: dict[str, Any]) -> None:
        if is_poisoned(self._settings.faults, call["eventList"]):
            self.book.faults[Fault.POISON] += 1
            raise Refusal("InvalidInputException", "The request holds invalid input.")
