"""PutEvents: what becomes of a call."""

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

# PutEvents knows no resource: rights to it are given for `*`, says its API reference. The caller is made up.
_DENIED = (
    "User: arn:aws:sts::111122223333:assumed-role/emulator/client is not authorized to perform: personalize:PutEvents"
    " on resource: * because no identity-based policy allows the personalize:PutEvents action"
)


class PutEventsService:
    """The PutEvents operation, apart from any network.

    Attributes:
        settings: how it is set up now.
        book: what was received since the start or the last reset.
        window: the quota, and how full it ever was.
    """

    def __init__(self, settings: EmulatorSettings, clock: EmulatorClock) -> None:
        """Set up as `settings` say, with the time from `clock`."""
        self.settings = settings
        self._clock = clock
        self._judge = load_judge()
        self.reset()

    def reset(self) -> None:
        """Forget all calls and tokens; the quota's window and the runs of faults and latencies start anew."""
        settings, faults = self.settings, self.settings.faults
        self.book = CallLog()
        self._admitted = 0
        self.window = QuotaWindow(settings.quota, settings.other_rate)
        self._verifier = Verifier(settings)
        self._ranges = lay_out(faults)
        self._random = random.Random(faults.seed)  # noqa: S311 - faults must be repeatable
        self._delays = draw_latencies(settings.latency_ms, settings.latency_p99_ms, faults.seed)

    def change(self, **changes: Any) -> None:
        """Set quota, the other client's rate or the faults anew, by the names in Settings; a reset does not undo it.

        The run of faults goes on where it is, with the new rates.

        Raises:
            ValueError: if Settings refuse the value; nothing is changed then.
        """
        self.settings = replace(self.settings, **changes)
        self._ranges = lay_out(self.settings.faults)
        self.window.change(self.settings.quota, self.settings.other_rate, self._clock.steady())

    def put_events(self, request: HttpRequest) -> HttpReply:
        """Decide on a call and keep what is accepted.

        The order is the real service's: who calls, whether it may, whether it may now, then what it says.
        Injected faults strike admitted calls, which use up the quota as they would there; those that strike
        after accepting, only calls with nothing wrong.
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
            # Our fault, whatever the call holds: the client has an answer, and the call is counted.
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
        """Keep a call's events, or say which fault they bring about themselves."""
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
            # Documented nowhere for PutEvents. Its sister operations (PutItems, PutUsers) model this code,
            # with 404, for a dataset that is not there, and it cannot be mistaken for a faulty event.
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
