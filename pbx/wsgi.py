"""The web application, for gunicorn."""

import os
import sys

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pbx.settings")
application = get_wsgi_application()

from pbx.operations.alone import announce_running  # noqa: E402  (needs the settings)
from pbx.startup.refusal import Refusal  # noqa: E402

try:
    announce_running()
except Refusal as refusal:
    sys.exit(str(refusal))
