"""PutEvents: decides about a call."""

import random
import traceback
from dataclasses import replace
from typing import Any

from emulator.call_log import CallLog
from emulator.faults import (
    BEFORE,
    FAILURES,
    InjectedFault,
    draw_fault,
    draw_latencies,
    inject,
    is_failing,
    is_poisoned,
    lay_out,
)
from emulator.messages import HttpReply, HttpRequest, Refusal, refuse
from emulator.quota import QuotaWindow
from emulator.settings import EmulatorClock, EmulatorSettings
from emulator.signature import Verifier
from emulator.validation import load_judge

# PutEvents has no resource: its API reference says that rights are given for `*`. The caller is invented.
_DENIED = (
    "User: arn:aws:sts::111122223333:assumed-role/emulator/client is not authorized to perform: personalize:PutEvents"
    " on resource: * because no identity-based policy allows the personalize:PutEvents action"
)


class PutEventsService:
    """The PutEvents operation, without a network.

    Attributes:
        settings: the present settings.
        book: everything received since the start or the last reset.
        window: the quota, and its fullest second.
    """

    def __init__(self, settings: EmulatorSettings, clock: EmulatorClock) -> None:
        """Set up as `settings` say, with the time from `clock`."""
        self.settings = settings
        self._clock = clock
        self._judge = load_judge()
        self.reset()

    def reset(self) -> None:
        """Forget all calls and tokens; the window of the quota, the faults and the latencies start again."""
        settings, faults = self.settings, self.settings.faults
        self.book = CallLog()
        self._admitted = 0
        self.window = QuotaWindow(settings.quota, settings.other_rate)
        self._verifier = Verifier(settings)
        self._ranges = lay_out(faults)
        self._random = random.Random(faults.seed)  # noqa: S311 - faults must be repeatable
        self._delays = draw_latencies(settings.latency_ms, settings.latency_p99_ms, faults.seed)

    def change(self, **changes: Any) -> None:
        """Change quota, the other client's rate or the faults, by the names in Settings; a reset does not undo it.

        The series of faults continues, with the new rates.

        Raises:
            ValueError: if Settings refuse the value; then nothing changes.
        """
        self.settings = replace(self.settings, **changes)
        self._ranges = lay_out(self.settings.faults)
        self.window.change(self.settings.quota, self.settings.other_rate, self._clock.steady())

    def put_events(self, request: HttpRequest) -> HttpReply:
        """Decide about a call, and keep its events if it is accepted.

        The order is that of the real service: who calls, whether it may, whether it may now, then the content.
        Injected faults hit admitted calls, which use up the quota. Faults after accepting hit only valid calls.
        """
        now, steady = self._clock.wall(), self._clock.steady()
        self.book.arrive(now, steady)
        try:
            self._verifier.verify(request, now)
            self._check_rights()
            return self._admit(request, now, steady)
        except Refusal as refusal:
            return self._refuse(refusal)
        except Exception:
            # A fault of the emulator: the client gets an answer, and the call is counted.
            traceback.print_exc()
            return self._refuse(Refusal("InternalFailure", "The emulator failed: its standard error says why."))

    def _refuse(self, refusal: Refusal) -> HttpReply:
        self.book.refused[refusal.code] += 1
        return refuse(refusal, next(self._delays))

    def _check_rights(self) -> None:
        if self.settings.deny:
            raise Refusal("AccessDeniedException", _DENIED)

    def _admit(self, request: HttpRequest, now: float, steady: float) -> HttpReply:
        if not self.window.admit(steady):
            self.book.throttled += 1
            # AWS's own services throttle with 400, not with 429.
            return refuse(Refusal("ThrottlingException", "Rate exceeded"), next(self._delays))
        self.book.admitted_per_second[int(now)] += 1
        self._admitted += 1
        fault = draw_fault(self._ranges, self._random.random())
        if fault not in BEFORE:
            fault = self._accept(request, now) or fault
        return self._answer(fault)

    def _accept(self, request: HttpRequest, now: float) -> InjectedFault | None:
        """Keep the events of a call, or return the fault that they cause themselves."""
        call = self._judge(request.body)
        self._check_tracking_id(call)
        self._check_whether_any_is_taken()
        self._check_poison(call)
        if is_failing(self.settings.faults, call["eventList"]):
            return FAILURES[self.settings.faults.fail_by]
        self.book.accepted.append((now, request.request_id, request.body))
        return None

    def _answer(self, fault: InjectedFault | None) -> HttpReply:
        if fault is not None:
            self.book.faults[fault] += 1
        return inject(fault, next(self._delays), self.settings.faults.slow_body_ms)

    def _check_tracking_id(self, call: dict[str, Any]) -> None:
        known = self.settings.tracking_ids
        if known and call["trackingId"] not in known:
            # Not documented for PutEvents. Its sister operations (PutItems, PutUsers) model this code,
            # with 404, for a missing dataset, and it cannot be mistaken for a faulty event.
            raise Refusal("ResourceNotFoundException", "No event tracker has the given tracking ID.")

    def _check_whether_any_is_taken(self) -> None:
        after = self.settings.faults.refuse_after
        if after is not None and self._admitted > after:
            self.book.faults[InjectedFault.REFUSE_ALL] += 1
            raise Refusal("InvalidInputException", "The request holds invalid input.")

    def _check_poison(self, call: dict[str, Any]) -> None:
        if is_poisoned(self.settings.faults, call["eventList"]):
            self.book.faults[InjectedFault.POISON] += 1
            raise Refusal("InvalidInputException", "The request holds invalid input.")
