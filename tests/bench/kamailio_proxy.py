"""Kamailio as a stateful proxy between two phones: digest for each INVITE (with a password made of the number, so that
no database is asked), Record-Route, ``tm``. It carries no media and keeps no record of the call."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.processes import Program, free_port, scratch_directory
from tests.support.programs import require_program

REALM = "kamailio.test"

CONFIGURATION = """#!KAMAILIO
debug=-1
log_stderror=yes
children={children}
disable_tcp=yes
auto_aliases=no
listen=udp:127.0.0.1:{port}
mpath="{modules}"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "auth.so"
modparam("auth", "nonce_expire", 300)
modparam("auth", "qop", "auth")
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK") && t_check_trans()) t_relay();
        exit;
    }}
    if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    if (!pv_www_authenticate("{realm}", "load-$fU", "0")) {{ www_challenge("{realm}", "1"); exit; }}
    consume_credentials();
    record_route();
    $ru = "sip:callee@127.0.0.1:{callee}";
    t_relay();
}}
"""


class KamailioProxy:
    """A running Kamailio that sends every call to port ``callee``. Raises ``unittest.SkipTest`` where there is none."""

    def __init__(self, callee: int, *, children: int) -> None:
        kamailio = require_program("kamailio", "kamailio")
        self.port, self.domain = free_port(), REALM
        self.directory = scratch_directory("kamailio")
        modules = next(Path("/usr/lib").glob("*/kamailio/modules"), Path("/usr/lib/kamailio/modules"))
        configuration = self.directory / "kamailio.cfg"
        configuration.write_text(
            CONFIGURATION.format(children=children, port=self.port, modules=modules, realm=REALM, callee=callee)
        )
        self._program = Program(
            [kamailio, "-f", str(configuration), "-DD", "-E", "-m", "256", "-M", "16", "-Y", str(self.directory)],
            log_path=self.directory / "log",
            death_signal="TERM",
            name="kamailio",
        )

    @property
    def pid(self) -> int:
        return self._program.pid

    @property
    def log(self) -> str:
        return self._program.log

    def stop(self) -> None:
        self._program.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
