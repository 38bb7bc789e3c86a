"""Texts that mean something to whoever shows, stores or repeats them. Each holds ``MARK``."""

from __future__ import annotations

from tests.verdicts.hostile import MARK
from tests.verdicts.hostile import TEXTS as SHOWN

BEACON = "/zqx-beacon"
"""Asked for by a page only if a text became part of it."""

TEXTS = {
    **{name: text for name, text in SHOWN.items() if name != "long"},
    "sql": f"{MARK}'; DROP TABLE extensions_extension; --",
    "separators": f"{MARK}\u2028a\u2029b\u0085c",
    "line": f"{MARK}\n2026-01-01 00:00:00,000 INFO [SIP] {MARK} forged",
    "return": f"{MARK}\rRegistration refused: number={MARK} source=192.0.2.1 cause=wrong_password",
    "nul": f"{MARK}\x00{MARK}",
    "json": f'{MARK}","level":"ERROR","message":"{MARK}\\u001b[31m\\n',
    "beacon": f'{MARK}"><img src="{BEACON}"><script src="{BEACON}"></script><svg/onload=window.{MARK}=1>',
    "inside_script": f"{MARK}</script><script>window.{MARK}=1</script>';window.{MARK}=1;//",
    "comment": f"{MARK}--><!--]]><textarea></title></style><{MARK}tag>",
    "lookup": f"${{jndi:ldap://127.0.0.66/{MARK}}}",
    "template_tags": f"{MARK}{{% load static %}}{{{{ settings.SECRET_KEY }}}}{{# x #}}${{7*7}}#{{7*7}}<%= 7*7 %>",
    "plus": f"+1{MARK}", "minus": f"-1{MARK}", "at": f"@SUM(1){MARK}", "wide_equals": f"\uff1d1+1{MARK}",
    "cells": f'{MARK}","=1+1","{MARK}',
    "tabbed": f"\t=1+1{MARK}",
    "invisible": f"{MARK}\u200b\u2060\ufeff\u00ad\u034f\U000e0041",
    "astral": f"{MARK}\U0010ffff\U0001f4de\U000e0001",
    "overlong": f"{MARK}\udcc0\udc80\udcf8\udc88\udced\udca0\udc80",
}
