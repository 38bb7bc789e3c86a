"""gunicorn's settings, and the watchdog of the web process."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

from django.conf import settings

from sipcore.systemd import notify, watchdog_seconds

_host = f"[{settings.WEB_HOST.strip('[]')}]" if ":" in settings.WEB_HOST else settings.WEB_HOST

wsgi_app = "pbx.wsgi:application"
bind = [f"{_host}:{settings.WEB_PORT}"]
worker_class = "pbx.web_worker.PatientWorker"
workers = 2
preload_app = True  # loaded once, then forked
threads = 8
keepalive = 5  # seconds without a word from a connection
timeout = 60  # seconds
graceful_timeout = 2  # the whole PBX ends within 5, on a busy machine too
errorlog = "-"
loglevel = "warning"
logger_class = "pbx.gunicorn_log.TokenlessLogger"
proc_name = "pbx-web"
control_socket_disable = True  # it would be a file outside var/
if os.access("/dev/shm", os.W_OK):
    worker_tmp_dir = "/dev/shm"  # the heartbeat of the workers must not wait for a disk


def command() -> list[str]:
    """What runs the web pages, in the directory of ``manage.py``."""
    return [sys.executable, "-m", "gunicorn", "-c", "python:pbx.web_server"]


def when_ready(server) -> None:
    every = watchdog_seconds()
    if every:
        threading.Thread(target=_watch, args=(every,), name="watchdog", daemon=True).start()


def _watch(every: float) -> None:
    """Tell the service manager that we live only when a page is really answered."""
    stop = threading.Event()
    while not stop.wait(every):
        if answers():
            notify("WATCHDOG=1")


def answers(seconds: float = 5.0) -> bool:
    """Whether the web process answers an HTTP request."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.WEB_HOST, settings.WEB_HOST.strip("[]"))
    with contextlib.suppress(OSError), socket.create_connection((host, settings.WEB_PORT), timeout=seconds) as link:
        link.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return link.recv(16).startswith(b"HTTP/")
    return False
