"""PostgreSQL's own pg_dump and psql. The password goes by the environment: arguments are seen by everybody."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from pathlib import Path

from django.db import connection
from django.utils.translation import gettext as _

from pbx.startup.refusal import Refusal


def dump(path: Path) -> None:
    """All of the database as of one moment, as SQL.

    :raises Refusal: when pg_dump is missing or fails."""
    _run([_program("pg_dump"), "--format=plain", "--no-owner", "--no-privileges", "--no-comments", f"--file={path}"])


def replace_by(path: Path, scratch: Path) -> None:
    """Put the dump in the place of all tables, in one transaction: all or nothing. ``scratch`` is a directory.

    :raises Refusal: when psql is missing or fails; the database is then as it was."""
    psql = _program("psql")
    with connection.cursor() as cursor:
        names = [connection.ops.quote_name(name) for name in connection.introspection.table_names(cursor)]
    connection.close()
    empty = scratch / "empty.sql"
    empty.write_text(f"DROP TABLE IF EXISTS {', '.join(names)} CASCADE;\n" if names else "", "utf-8")
    _run(
        [
            psql, "--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--single-transaction",
            f"--file={empty}", f"--file={path}",
        ]
    )


def _program(name: str) -> str:
    found = shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)
    if found is None:
        raise Refusal(
            _("The program %(name)s is missing on this machine: apt install postgresql-client") % {"name": name}
        )
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(
        [*command, f"--dbname={_address()}"], env=_environment(), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.strip()), str(done.returncode))
        raise Refusal(
            _("%(name)s failed, nothing was changed: %(reason)s")
            % {"name": os.path.basename(command[0]), "reason": said[:300]}
        )


def _address() -> str:
    from psycopg import conninfo, pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    parameters = {
        name: value for name, value in connection.get_connection_params().items()
        if name in known and name != "password"
    }
    return conninfo.make_conninfo(**parameters)


def _environment() -> dict[str, str]:
    password = connection.settings_dict["PASSWORD"]
    return {**os.environ, "LC_ALL": "C.UTF-8", **({"PGPASSWORD": password} if password else {})}
