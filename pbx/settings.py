"""Settings. Every value comes from the environment or from ``.env``; ``.env.example`` explains each."""

import socket
from pathlib import Path

from django.utils.translation import gettext_lazy as _

from pbx import environment
from pbx.databases import database_settings
from pbx.early_words import LOCALE_DIR, terminal_language
from pbx.system.server_address import own_address
from pbx.time_zone import known_time_zone, machine_time_zone
from pbx.var_directory import make_private_directory, read_or_make_secret_key
from pbx.web_names import host_of, web_names

BASE_DIR = Path(__file__).resolve().parent.parent
environment.read_dotenv(BASE_DIR / ".env")

VAR_DIR = BASE_DIR / environment.text("VAR_DIR", "var")
make_private_directory(VAR_DIR)
SECRET_KEY = environment.text("SECRET_KEY") or read_or_make_secret_key(VAR_DIR / "secret-key")
DEBUG = environment.yes_or_no("DEBUG", False)

# SIP
SIP_HOST = environment.text("SIP_HOST", "0.0.0.0")
SIP_PORT = environment.whole_number("SIP_PORT", 5060)
SIP_DOMAIN = environment.text("SIP_DOMAIN")
SIP_ALIASES = environment.words("SIP_ALIASES")
SIP_REALM = environment.text("SIP_REALM")
SIP_DIGEST_ALGORITHMS = environment.words("SIP_DIGEST_ALGORITHMS", ("MD5",))
EXTERNAL_IP = environment.text("EXTERNAL_IP")
LOCAL_NETS = environment.words("LOCAL_NETS")
SIP_TRUSTED_PROXIES = environment.words("SIP_TRUSTED_PROXIES")
GUARD_FAILURES = environment.whole_number("GUARD_FAILURES", 10)
GUARD_NUMBERS = environment.whole_number("GUARD_NUMBERS", 6)
GUARD_TRUSTED_NETS = environment.words("GUARD_TRUSTED_NETS", ("127.0.0.0/8", "::1"))
if GUARD_TRUSTED_NETS == ["none"]:
    GUARD_TRUSTED_NETS = []
SIP_MIN_EXPIRES = environment.whole_number("SIP_MIN_EXPIRES", 60)
SIP_MAX_EXPIRES = environment.whole_number("SIP_MAX_EXPIRES", 3600)
SIP_DEFAULT_EXPIRES = environment.whole_number("SIP_DEFAULT_EXPIRES", 3600)
SIP_NONCE_LIFETIME = environment.whole_number("SIP_NONCE_LIFETIME", 7200)
SIP_STORE_WAIT = environment.whole_number("SIP_STORE_WAIT", 8)
SIP_INBOX_LIMIT = environment.whole_number("SIP_INBOX_LIMIT", 4000)
SIP_KEEPALIVE_INTERVAL = environment.whole_number("SIP_KEEPALIVE_INTERVAL", 20)
SIP_NODE = environment.text("SIP_NODE") or socket.gethostname()[:32]
SIP_WORKERS = environment.whole_number("SIP_WORKERS", 1)
CALL_RECORDS_DAYS = environment.whole_number("CALL_RECORDS_DAYS", 0)
SIP_MAX_CALLS = environment.whole_number("SIP_MAX_CALLS", 500)
SIP_MAX_CALLS_PER_EXTENSION = environment.whole_number("SIP_MAX_CALLS_PER_EXTENSION", 10)
SIP_MAX_RINGING = environment.whole_number("SIP_MAX_RINGING", 200)
SIP_EMERGENCY_NUMBERS = environment.words("SIP_EMERGENCY_NUMBERS", ("101", "102", "103", "104", "112"))
if SIP_EMERGENCY_NUMBERS == ["none"]:
    SIP_EMERGENCY_NUMBERS = []
SIP_SESSION_EXPIRES = environment.whole_number("SIP_SESSION_EXPIRES", 1800)
SIP_MEDIA_TIMEOUT = environment.whole_number("SIP_MEDIA_TIMEOUT", 60)
SIP_DECLINE_STOPS_ALL = environment.yes_or_no("SIP_DECLINE_STOPS_ALL", False)
SIP_BLF_REMOTE_PARTY = environment.yes_or_no("SIP_BLF_REMOTE_PARTY", False)
RTP_PORTS = environment.text("RTP_PORTS", "10000-20000")
RTP_WORKERS = environment.whole_number("RTP_WORKERS", 1)
RTPENGINE_URLS = environment.words("RTPENGINE_URLS")
LOG_FORMAT = environment.one_of("LOG_FORMAT", ("text", "json"))

# Web
WEB_HOST = environment.text("WEB_HOST", "127.0.0.1")
WEB_PORT = environment.whole_number("WEB_PORT", 8000)
WEB_HTTPS = environment.yes_or_no("WEB_HTTPS", False)
WEB_PUBLIC_URL = environment.text("WEB_PUBLIC_URL").rstrip("/")
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS") or web_names(
    own_address(), socket.gethostname(), SIP_DOMAIN, *SIP_ALIASES, EXTERNAL_IP
)
ALLOWED_HOSTS += host_of(WEB_PUBLIC_URL)
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")
# From these X-Forwarded-For is believed. Loopback by default: a proxy on this machine would otherwise make every
# stranger look like a local person, to the login throttle and to the provisioning links.
WEB_TRUSTED_PROXIES = environment.words("WEB_TRUSTED_PROXIES", ("127.0.0.0/8", "::1"))
# Only from these the pages answer, but for the links that phones open: this machine and private networks. Not
# 100.64.0.0/10: behind a provider's NAT other customers of it have such addresses too.
ADMIN_NETS = environment.words(
    "ADMIN_NETS",
    ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1", "fc00::/7", "fe80::/10"),
)
ADMIN_TOTP = environment.yes_or_no("ADMIN_TOTP", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = WEB_HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if WEB_HTTPS else None
# HSTS and the redirect to HTTPS are the proxy's (deploy/): here they would shut out the tunnel to 127.0.0.1.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"] if WEB_HTTPS else []
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "pbx.admin_config.PbxAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "pbx",
    "pbx.system",
    "pbx.calls",
    "pbx.subscriptions",
    "pbx.diagnosis",
    "extensions",
    "sipcore",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "pbx.content_security.ContentSecurityMiddleware",
    "pbx.admin_reach.AdminReachMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "pbx.urls"
WSGI_APPLICATION = "pbx.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": database_settings(environment.text("DATABASE_URL"), VAR_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
# One person guessing at one name from one address is stopped; the others behind the same address are not.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # impatient retries do not make the wait longer
AXES_LOCKOUT_TEMPLATE = "admin/locked_out.html"
AXES_CLIENT_IP_CALLABLE = "pbx.client_address.throttled_address"
AXES_ENABLE_ADMIN = False  # `manage.py axes_list_attempts` and `axes_reset` are the tools
OTP_TOTP_ISSUER = "PBX"
OTP_ADMIN_HIDE_SENSITIVE_DATA = True

LANGUAGE_CODE = environment.text("LANGUAGE_CODE") or terminal_language()
LANGUAGES = [("uz", _("Uzbek")), ("ru", _("Russian")), ("en", _("English"))]
LOCALE_PATHS = [LOCALE_DIR]
LANGUAGE_COOKIE_AGE = 365 * 86400  # seconds
TIME_ZONE = known_time_zone(environment.text("TIME_ZONE")) or machine_time_zone()
FORMAT_MODULE_PATH = "pbx.formats"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # nothing has to be collected before the first start

TEST_RUNNER = "pbx.testing.PbxTestRunner"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(message)s"},
        "json": {"()": "pbx.json_log.JsonFormatter"},
    },
    "filters": {"hide_tokens": {"()": "pbx.hidden_tokens.HideTokens"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["hide_tokens"]},
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "django.server": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "psycopg": {"level": "ERROR"},  # that a connection was lost in mid-sentence is said in our own words
        "axes": {"level": "ERROR"},  # pbx.refused_log_ins says it in one line
    },
}
