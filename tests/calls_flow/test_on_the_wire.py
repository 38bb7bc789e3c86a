"""The scenarios against ``manage.py runsip``, over UDP on loopback."""

from __future__ import annotations

from tests.calls_flow import flows_forks, flows_guard, flows_offers, flows_setup, flows_timers, flows_transfer
from tests.calls_flow.real import RealCase, RtpengineCase


class SetupOnTheWire(RealCase, flows_setup.SetupFlows):
    pass


class OffersOnTheWire(RealCase, flows_offers.OfferFlows):
    pass


class OffersWithRtpengine(RtpengineCase, flows_offers.OfferFlows):
    pass


class ForksOnTheWire(RealCase, flows_forks.ForkFlows):
    pass


class GuardOnTheWire(RealCase, flows_guard.GuardFlows):
    pass


class TransferOnTheWire(RealCase, flows_transfer.TransferFlows):
    pass


class TransferWithRtpengine(RtpengineCase, flows_transfer.TransferFlows):
    pass


class TimersOnTheWire(RealCase, flows_timers.TimerFlows):
    pass


class LimitsOnTheWire(RealCase, flows_guard.LimitFlows):
    calls = {"SIP_MAX_CALLS": "4", "SIP_MAX_CALLS_PER_EXTENSION": "2", "SIP_MAX_RINGING": "3"}
