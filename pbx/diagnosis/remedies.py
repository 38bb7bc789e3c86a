"""Sentences that several verdicts share: what to press, and what to switch off."""

from __future__ import annotations

from django.utils.translation import gettext as _


def set_password(number: str) -> str:
    return _(
        "Open the extension %(number)s, press “Password” and put the new password into the phone."
    ) % {"number": number}


def set_lost_password(number: str) -> str:
    return _(
        "If nobody knows it any more, open the extension %(number)s, press “Password” and put that one into the phone."
    ) % {"number": number}


def try_again() -> str:
    """baresip and Linphone are silent after a refusal until somebody touches them."""
    return _(
        "Then switch the account off and on in the phone: after a refusal many phones do not try again by themselves."
    )


def only_try_again() -> str:
    """Where nothing else is left to do."""
    return _(
        "Switch the account off and on in the phone: after a refusal many phones do not try again by themselves."
    )


def server_settings(domain: str, port: int) -> str:
    """What has to stand in the phone, in one sentence."""
    return _(
        "In the phone there has to be: server (domain) %(domain)s, port %(port)d, transport UDP, no outbound proxy, "
        "no STUN, and the account switched on."
    ) % {"domain": domain, "port": port}


def switch_off_alg() -> str:
    return _(
        "In the router in front of the phone, switch off “SIP ALG” and restart the router. It is also called SIP "
        "Passthrough or SIP Helper; in MikroTik it is under IP, Firewall, Service Ports."
    )


def try_mobile_data() -> str:
    return _(
        "To see whether it is the network, let the phone try from another one, for example with mobile data instead "
        "of Wi-Fi."
    )
