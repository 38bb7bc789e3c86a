"""Kamailio as the peer of the benchmark: durable registrations (``usrloc db_mode 1``: every REGISTER is written to the
database before its 200) and passwords from ``auth_db``, on the same PostgreSQL as runsip. Without a database: in memory
(``db_mode 0``: a crash forgets all), with a password made of the number."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.support.pbx import CROWD_PASSWORD
from tests.support.postgres import PostgresCluster
from tests.support.processes import Program, free_port, scratch_directory
from tests.support.programs import require_program

REALM = "kamailio.test"
TABLES = ("standard", "auth_db", "usrloc")
SCHEMA_DIRECTORY = Path("/usr/share/kamailio/postgres")

CONFIGURATION = """#!KAMAILIO
debug=-1
log_stderror=yes
children={children}
disable_tcp=yes
auto_aliases=no
listen=udp:127.0.0.1:{port}
mpath="{modules}"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
{store}
modparam("usrloc", "hash_size", 12)
modparam("registrar", "max_expires", 3600)
modparam("registrar", "min_expires", 60)
modparam("auth", "nonce_expire", 300)
modparam("auth", "qop", "auth")
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (!is_method("REGISTER")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    if (!{authenticate}) {{ www_challenge("{realm}", "1"); exit; }}
    if ($au != $tU) {{ sl_send_reply("403", "Forbidden"); exit; }}
    if (!save("location")) sl_reply_error();
}}
"""

DURABLE = """loadmodule "db_postgres.so"
loadmodule "auth_db.so"
modparam("usrloc", "db_url", "{url}")
modparam("usrloc", "db_mode", 1)
modparam("auth_db", "db_url", "{url}")
modparam("auth_db", "calculate_ha1", 0)
modparam("auth_db", "password_column", "ha1")
modparam("auth_db", "use_domain", 0)"""
MEMORY = 'modparam("usrloc", "db_mode", 0)'


class KamailioPeer:
    """A running Kamailio. Raises ``unittest.SkipTest`` (``ProgramMissing`` in CI) where it is not installed."""

    def __init__(self, cluster: PostgresCluster | None, *, children: int = 4, database: str = "kamailio") -> None:
        """``cluster`` None: in memory, for the accounts whose password is ``CROWD_PASSWORD``."""
        kamailio = require_program("kamailio", "kamailio")
        if cluster is not None and not (SCHEMA_DIRECTORY / "usrloc-create.sql").exists():
            require_program("kamailio-postgres-modules", "kamailio-postgres-modules")
        self._cluster = cluster
        self._database = database
        self.port = free_port()
        self.realm = REALM
        if cluster is None:
            password = CROWD_PASSWORD.format(number="$fU")
            store, authenticate = MEMORY, f'pv_www_authenticate("{REALM}", "{password}", "0")'
        else:
            url = cluster.create_database(database)
            for table in TABLES:
                cluster.execute((SCHEMA_DIRECTORY / f"{table}-create.sql").read_text(), database)
            store, authenticate = DURABLE.format(url=url), f'www_authenticate("{REALM}", "subscriber")'
        self.directory = scratch_directory("kamailio")
        modules = next(Path("/usr/lib").glob("*/kamailio/modules"), Path("/usr/lib/kamailio/modules"))
        configuration = self.directory / "kamailio.cfg"
        configuration.write_text(CONFIGURATION.format(
            children=children, port=self.port, modules=modules, realm=REALM, store=store,
            authenticate=authenticate,
        ))
        self._program = Program(
            [kamailio, "-f", str(configuration), "-DD", "-E", "-m", "256", "-M", "16", "-Y", str(self.directory)],
            log_path=self.directory / "log", death_signal="TERM", name="kamailio",
        )

    def add_accounts(self, accounts: Iterable[tuple[str, str]]) -> None:
        """(user name, password) pairs."""
        if self._cluster is None:
            return
        import psycopg

        with psycopg.connect(self._cluster.url_of(self._database)) as connection:
            cursor = connection.cursor()
            with cursor.copy("COPY subscriber (username, domain, password, ha1, ha1b) FROM STDIN") as copy:
                for user, password in accounts:
                    ha1 = hashlib.md5(f"{user}:{REALM}:{password}".encode()).hexdigest()
                    copy.write_row((user, REALM, "", ha1, ""))
            connection.execute("ANALYZE subscriber")

    @property
    def pid(self) -> int:
        """Of the first of its processes."""
        return self._program.pid

    @property
    def log(self) -> str:
        return self._program.log

    def stop(self) -> None:
        self._program.stop()
        if self._cluster is not None:
            self._cluster.drop_database(self._database)
        shutil.rmtree(self.directory, ignore_errors=True)
