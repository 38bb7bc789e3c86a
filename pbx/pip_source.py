"""Finds pip's own wheel where pip itself would look: its configuration files, its environment, its index.

Needed where Python came without ensurepip. The version is pinned and the checksum is checked. Every start of the PBX
imports this file and nearly none fetches anything: what only that needs is imported where it is used."""

from __future__ import annotations

import configparser
import hashlib
import html.parser
import os
import sys
import urllib.parse
from pathlib import Path

from pbx.early_words import _

PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
TIMEOUT = 30  # seconds
LARGEST_ANSWER = 20_000_000  # bytes


def no_certificates() -> str:
    return _(
        "The package index's certificate cannot be checked because this machine has no certificate authorities for it: "
        "install them (on Debian: apt install ca-certificates) or name their file in SSL_CERT_FILE."
    )


def no_network() -> str:
    return _(
        "The package index cannot be reached: check this machine's network "
        "(or the proxy and index that pip is configured with) and run the same command again."
    )


class SetupFailed(Exception):
    """The text is the one sentence, with its remedy, that the person reads."""


def pip_setting(name: str) -> str:
    """What pip is told by its environment (first) or its configuration files; "" for nothing. ``name`` is the long
    option without its hyphens before, such as ``index-url``."""
    variable = os.environ.get("PIP_" + name.upper().replace("-", "_"), "")
    if variable:
        return variable
    for path in configuration_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("install", "global"):
            value = parser.get(section, name, fallback="") or parser.get(section, name.replace("-", "_"), fallback="")
            if value.strip():
                return value.strip()
    return ""


def configuration_files() -> list[Path]:
    """The strongest first."""
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    home = Path.home()
    personal = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    shared = [Path(name) for name in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if name]
    files = [
        Path(sys.prefix) / "pip.conf",
        personal / "pip" / "pip.conf",
        home / ".pip" / "pip.conf",
        Path("/etc/pip.conf"),
        *(directory / "pip" / "pip.conf" for directory in shared),
    ]
    return ([Path(named)] if named else []) + files


def certificates_file() -> str:
    return pip_setting("cert") or os.environ.get("SSL_CERT_FILE", "")


def pip_environment() -> dict[str, str]:
    """What pip does not read by itself: an older one knows nothing of SSL_CERT_FILE."""
    if os.environ.get("SSL_CERT_FILE") and not pip_setting("cert") and not os.environ.get("REQUESTS_CA_BUNDLE"):
        return {"PIP_CERT": os.environ["SSL_CERT_FILE"]}
    return {}


def download_pip(directory: Path) -> Path:
    """Put pip's wheel into ``directory`` and return its path.

    :raises SetupFailed: when it is nowhere, cannot be reached or is not the one expected."""
    faults: list[Exception] = []
    for page in places():
        try:
            for url in wheel_urls(page):
                content = fetch(url)
                if hashlib.sha256(content).hexdigest() == PIP_SHA256:
                    wheel = directory / PIP_WHEEL
                    wheel.write_bytes(content)
                    return wheel
                raise SetupFailed(
                    _(
                        "The %(file)s of the package index is not the expected one (its checksum differs): "
                        "correct the index that pip is configured with, or install python3-venv."
                    )
                    % {"file": PIP_WHEEL}
                )
        except (OSError, ValueError) as error:
            faults.append(error)
    raise SetupFailed(reason_of(faults))


def reason_of(faults: list[Exception]) -> str:
    import ssl
    import urllib.error

    reasons = [getattr(fault, "reason", fault) for fault in faults]
    if any(isinstance(reason, ssl.SSLCertVerificationError) for reason in reasons) or any(
        isinstance(reason, ssl.SSLError | FileNotFoundError) and certificates_file() for reason in reasons
    ):
        return no_certificates()
    network = [
        reason for fault, reason in zip(faults, reasons, strict=True)
        if not isinstance(fault, urllib.error.HTTPError) and not isinstance(reason, FileNotFoundError)
    ]
    if network:
        return no_network()
    return _(
        "The package index has no %(file)s: install pip another way (on Debian: apt install python3-venv) "
        "and run the same command again."
    ) % {"file": PIP_WHEEL}


def places() -> list[str]:
    """Directories and pages that may list the wheel, in pip's order."""
    found = [as_url(place) for place in pip_setting("find-links").split()]
    if pip_setting("no-index").lower() not in ("1", "true", "yes", "on"):
        indexes = [pip_setting("index-url") or "https://pypi.org/simple", *pip_setting("extra-index-url").split()]
        found += [index.rstrip("/") + "/pip/" for index in indexes]
    return found


def as_url(place: str) -> str:
    return place if "://" in place else Path(place).expanduser().resolve().as_uri()


def wheel_urls(page: str) -> list[str]:
    import urllib.request

    if page.startswith("file:"):
        path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(page).path))
        if path.is_dir() and not (path / "index.html").is_file():
            return [(path / PIP_WHEEL).as_uri()] if (path / PIP_WHEEL).is_file() else []
        if path.is_dir():
            page = (path / "index.html").as_uri()
        elif not path.is_file():
            return []
    links = Links()
    links.feed(fetch(page).decode("utf-8", "replace"))
    urls = [urllib.parse.urljoin(page, link) for link in links.found]
    return [url for url in urls if urllib.parse.unquote(urllib.parse.urlsplit(url).path).endswith("/" + PIP_WHEEL)]


class Links(html.parser.HTMLParser):
    """The links of a "simple" index page (PEP 503)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def fetch(url: str) -> bytes:
    """:raises OSError: when it cannot be reached (urllib's errors are of that family)."""
    import ssl
    import urllib.request

    handlers: list[urllib.request.BaseHandler] = []
    proxy = pip_setting("proxy")
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=certificates_file() or None)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    split = urllib.parse.urlsplit(url)
    if split.username:  # https://user:password@host/: urllib wants them apart
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        netloc = split.netloc.rpartition("@")[2]
        url = urllib.parse.urlunsplit(split._replace(netloc=netloc))
        passwords.add_password(
            None, url, urllib.parse.unquote(split.username), urllib.parse.unquote(split.password or ""),
            is_authenticated=True,
        )
        handlers.append(urllib.request.HTTPBasicAuthHandler(passwords))
    request = urllib.request.Request(url, headers={"Accept": "text/html, */*;q=0.1"})
    with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT) as answer:
        return answer.read(LARGEST_ANSWER)
