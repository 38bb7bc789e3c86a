"""What can be wrong with the machine and the processes of the PBX, one pure function for each."""

from __future__ import annotations

from datetime import timedelta

from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.diagnosis.server_evidence import DiskFacts, PortFacts, ServerEvidence
from pbx.diagnosis.verdict import Confidence, Severity, Stage, Verdict

SKEW_SECONDS = 5.0
MANY_DROPS = 10
MANY_SOUND_DROPS = 100
LOW_BYTES, LOW_SHARE, ENOUGH_BYTES = 200 * 2**20, 0.05, 2 * 2**30
FULL_BYTES = 20 * 2**20
LOW_FILES = 1000
MOST_LINES = 10


def database_down(evidence: ServerEvidence) -> Verdict | None:
    database = evidence.database
    if not database.error:
        return None
    sqlite = database.vendor == "sqlite"
    return Verdict(
        "database_down", Severity.ERROR,
        _("The database does not answer."),
        _("Without it no phone can register and no page can be opened; calls in progress go on."),
        _("Look whether the file of the database in var/ is there, belongs to the user who runs the PBX, and whether "
          "the disk has room. Then run this again.") if sqlite else
        _("Start PostgreSQL (systemctl start postgresql), or correct DATABASE_URL in .env. The PBX connects again by "
          "itself."),
        (f"{database.vendor}: {database.error}",), stopped_at=Stage.OUR_PORT,
    )


def migrations_pending(evidence: ServerEvidence) -> Verdict | None:
    pending = evidence.database.pending
    if not pending:
        return None
    return Verdict(
        "migrations_pending", Severity.ERROR,
        ngettext("The database misses %(count)d step of preparation.",
                 "The database misses %(count)d steps of preparation.", len(pending)) % {"count": len(pending)},
        _("The program was updated, or never set up, and the tables of the database do not fit it: registrations and "
          "pages fail."),
        _("Run: python3 manage.py migrate. Then start the PBX again."),
        pending[:MOST_LINES], stopped_at=Stage.OUR_PORT,
    )


def disk_full(evidence: ServerEvidence) -> Verdict | None:
    for disk in evidence.disks:
        if not _is_low(disk):
            continue
        full = disk.free_bytes < FULL_BYTES or (disk.total_files and disk.free_files < LOW_FILES // 10)
        line = _("%(path)s: %(free)d MB of %(total)d MB free, %(files)d files can still be made") % {
            "path": disk.path, "free": disk.free_bytes // 2**20, "total": disk.total_bytes // 2**20,
            "files": disk.free_files,
        }
        return Verdict(
            "disk_full", Severity.ERROR if full else Severity.WARNING,
            _("The disk is full.") if full else _("The disk is almost full."),
            _("Registrations and call records are written to it before the phone gets its answer: on a full disk no "
              "phone can register."),
            _("Make room: delete old logs and backups, or give the machine a larger disk. `df -h` shows what is full."),
            (line,), stopped_at=Stage.OUR_PORT if full else None,
        )
    return None


def _is_low(disk: DiskFacts) -> bool:
    share = disk.total_bytes and disk.free_bytes / disk.total_bytes
    return (
        disk.free_bytes < LOW_BYTES
        or (share < LOW_SHARE and disk.free_bytes < ENOUGH_BYTES)
        or (disk.total_files > 0 and disk.free_files < LOW_FILES)
    )


def port_taken(evidence: ServerEvidence) -> Verdict | None:
    taken = _foreign(evidence)
    if taken is None or _beats(evidence):
        return None
    names = {"port": taken.port, "transport": taken.transport, "name": taken.program, "pid": taken.pid}
    return Verdict(
        "port_taken", Severity.ERROR,
        _("Port %(port)d (%(transport)s) is taken by another program: %(name)s.") % names if taken.program else
        _("Port %(port)d (%(transport)s) is taken by another program.") % names,
        _("Only one program can listen on a port. The PBX cannot start there, and the other program gets what the "
          "phones send."),
        _("Stop that program (kill %(pid)d; if it comes back, switch its service off), or set another SIP_PORT in "
          ".env and in the phones. Then start the PBX.") % names if taken.pid else
        _("Find it as root with `ss -lunp` and stop it, or set another SIP_PORT in .env and in the phones. Then start "
          "the PBX."),
        (f"{taken.transport} {taken.port}: {taken.program or '?'} {taken.pid or ''}".rstrip(),),
        Confidence.CERTAIN if taken.program else Confidence.LIKELY, stopped_at=Stage.OUR_PORT,
    )


def _foreign(evidence: ServerEvidence) -> PortFacts | None:
    """A socket on our port that is not of a SIP process of ours."""
    return next((port for port in evidence.ports if port.taken and not port.ours), None)


def _beats(evidence: ServerEvidence) -> bool:
    return any(process.lives(evidence.now) for process in evidence.processes)


def sip_not_running(evidence: ServerEvidence) -> Verdict | None:
    if _beats(evidence):
        return None
    last = evidence.processes[0] if evidence.processes else None
    mine = next((port for port in evidence.ports if port.ours), None)
    if mine is not None and evidence.database.error:
        return None  # it runs; it cannot say so without the database
    lines = []
    if last is not None:
        lines.append(_("last sign of life: %(time)s, process %(pid)d on %(node)s") % {
            "time": date_format(localtime(last.beat_at), "DATETIME_FORMAT"), "pid": last.pid, "node": last.node,
        })
    for port in evidence.ports:
        if not port.taken:
            lines.append(_("nobody listens on port %(port)d (%(transport)s)") % {
                "port": port.port, "transport": port.transport,
            })
    if mine is not None:
        return Verdict(
            "sip_not_running", Severity.ERROR,
            _("The SIP server hangs: its process is there and gives no sign of life."),
            _("It has said nothing for more than 20 seconds, so that phones get no answer. It may have been stopped, "
              "or it may have only just started and be about to speak."),
            _("Wait half a minute. If this stays, end it and start it again: kill -9 %(pid)d, then python3 manage.py "
              "start, or systemctl restart pbx-sip.") % {"pid": mine.pid},
            (*lines, f"runsip: {mine.pid}"), Confidence.LIKELY, stopped_at=Stage.OUR_PORT,
        )
    unseen = _foreign(evidence) is not None and not (_foreign(evidence) or PortFacts("", 0, False)).program
    return Verdict(
        "sip_not_running", Severity.ERROR,
        _("The SIP server is not running."),
        _("The program that phones talk to is not there, so that no phone can register or call."),
        _("Start it: python3 manage.py start. Where it runs as a service: systemctl start pbx-sip (or pm2 start "
          "pbx-sip)."),
        tuple(lines), Confidence.LIKELY if unseen else Confidence.CERTAIN, stopped_at=Stage.OUR_PORT,
    )


def clock_skew(evidence: ServerEvidence) -> Verdict | None:
    lines = []
    ahead = evidence.database.ahead_seconds
    if ahead is not None and abs(ahead) > SKEW_SECONDS:
        lines.append(_("the clock of the database differs by %(seconds)+d s") % {"seconds": round(ahead)})
    for process in evidence.processes:
        early = (process.beat_at - evidence.now).total_seconds()
        if early > SKEW_SECONDS:
            lines.append(_("the SIP server on %(node)s is ahead by %(seconds)d s") % {
                "node": process.node, "seconds": round(early),
            })
    if evidence.made_at is not None and evidence.made_at - evidence.now > timedelta(days=1):
        lines.append(_("the clock stands before the day on which this program was installed"))
    if not lines:
        return None
    if evidence.synchronised is False:
        lines.append(_("no time server sets the clock of this machine"))
    return Verdict(
        "clock_skew", Severity.WARNING,
        _("The clocks do not agree."),
        _("Registrations end at a time, and passwords are asked for with a time in them: with a wrong clock phones "
          "look offline, or are asked for their password again and again."),
        _("Let a time server set the clock of every machine of the PBX: timedatectl set-ntp true."),
        tuple(lines),
    )


def kernel_drops(evidence: ServerEvidence) -> Verdict | None:
    drops = evidence.drops
    if drops is None or (drops.sip < MANY_DROPS and drops.sound < MANY_SOUND_DROPS):
        return None
    sip = drops.sip >= MANY_DROPS
    count = drops.sip if sip else drops.sound
    what = (
        ngettext("%(count)d packet of phones was lost at the door of the SIP server.",
                 "%(count)d packets of phones were lost at the door of the SIP server.", count) if sip else
        ngettext("%(count)d packet of sound was lost at the door of the relay.",
                 "%(count)d packets of sound were lost at the door of the relay.", count)
    )
    return Verdict(
        "kernel_drops", Severity.WARNING, what % {"count": count},
        _("They arrived, and the machine had no time to take them: it was overloaded, or the process was stopped for "
          "a while. Counted since the SIP server was started."),
        _("Look with `top` what uses the processor. If it goes on, use a faster machine, and set a larger buffer as "
          "root: sysctl -w net.core.rmem_max=8388608. Starting the PBX again begins the count anew."),
        (f"SIP: {drops.sip}, RTP: {drops.sound}, RcvbufErrors: {drops.whole_machine}",),
    )
