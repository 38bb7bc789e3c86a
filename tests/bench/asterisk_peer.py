"""Asterisk with chan_pjsip as a peer, where it is installed. Accounts and the registrations' memory are its own
(``pjsip.conf``, astdb); no other module than a registrar needs is loaded."""

from __future__ import annotations

import shutil
import unittest
from collections.abc import Iterable
from pathlib import Path

from tests.support.processes import Program, free_port, run_program, scratch_directory, wait_until
from tests.support.programs import find_program

HOW = "Asterisk is not installed; Debian 12 has no package of it (Debian 11 and Ubuntu have: apt-get install asterisk)"

BOOT_SECONDS = 180.0
"""It reads 10,000 accounts slowly."""

MAIN = """[directories]
astetcdir => {directory}
astmoddir => {modules}
astvarlibdir => /var/lib/asterisk
astdbdir => {directory}
astkeydir => {directory}
astdatadir => /usr/share/asterisk
astagidir => {directory}
astspooldir => {directory}
astrundir => {directory}
astlogdir => {directory}
[options]
verbose = 0
debug = 0
"""
MODULES = "[modules]\nautoload=no\n" + "".join(f"load={name}.so\n" for name in (
    "res_sorcery_config", "res_sorcery_memory", "res_sorcery_astdb", "res_pjproject", "res_pjsip", "res_pjsip_session",
    "res_pjsip_authenticator_digest", "res_pjsip_endpoint_identifier_user", "res_pjsip_registrar", "chan_pjsip",
))
CALLING = ("pbx_config", "app_dial", "bridge_simple", "res_rtp_asterisk", "res_pjsip_sdp_rtp", "res_pjsip_caller_id",
           "codec_alaw", "codec_ulaw")
"""What calls need beside."""
DIALPLAN = "[calls]\nexten => _X.,1,Dial(PJSIP/${EXTEN})\n"
TRANSPORT = "[udp]\ntype=transport\nprotocol=udp\nbind=127.0.0.1:{port}\n[global]\ntype=global\ndefault_realm={realm}\n"
ACCOUNT = """[{user}]
type=endpoint
auth={user}
aors={user}
context=calls
direct_media=no
disallow=all
allow=alaw,ulaw
[{user}]
type=auth
auth_type=userpass
username={user}
password={password}
[{user}]
type=aor
max_contacts=10
minimum_expiration=60
maximum_expiration=3600
"""


class AsteriskPeer:
    """A running Asterisk. Raises ``unittest.SkipTest`` where it is not installed, in CI too."""

    realm = "asterisk.test"

    def __init__(self, accounts: Iterable[tuple[str, str]], *, calls: bool = False) -> None:
        """(user name, password) pairs. ``calls``: each may call each."""
        asterisk = find_program("asterisk")
        if asterisk is None:
            raise unittest.SkipTest(HOW)
        self.port = free_port()
        self.directory = scratch_directory("asterisk")
        modules = next(Path("/usr/lib").glob("*/asterisk/modules"), Path("/usr/lib/asterisk/modules"))
        self._write("asterisk.conf", MAIN.format(directory=self.directory, modules=modules))
        more = "".join(f"load={name}.so\n" for name in CALLING) if calls else ""
        self._write("modules.conf", MODULES + more)
        self._write("extensions.conf", DIALPLAN)
        self._write("rtp.conf", "[general]\nrtpstart=40000\nrtpend=48000\n")
        self._write("logger.conf", "[logfiles]\n")
        text = [TRANSPORT.format(port=self.port, realm=self.realm)]
        text += [ACCOUNT.format(user=user, password=password) for user, password in accounts]
        self._write("pjsip.conf", "".join(text))
        configuration = str(self.directory / "asterisk.conf")
        self._program = Program(
            [asterisk, "-f", "-C", configuration], log_path=self.directory / "log", death_signal="TERM",
            name="asterisk",
        )
        try:
            wait_until(
                lambda: run_program(
                    [asterisk, "-C", configuration, "-rx", "core waitfullybooted"], seconds=BOOT_SECONDS
                ).returncode == 0,
                "Asterisk has read its accounts", BOOT_SECONDS, pause=0.5,
            )
        except AssertionError:
            self.stop()
            raise

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    @property
    def pid(self) -> int:
        return self._program.pid

    def stop(self) -> None:
        self._program.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
