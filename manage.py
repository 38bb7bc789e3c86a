#!/usr/bin/env python3
"""The one command of the PBX: python3 manage.py start"""

import os
import sys

# Everything up to here and in this function is read by very old Pythons too: it must at least compile there.


def check_python():
    if sys.version_info < (3, 11):  # noqa: UP036
        from pbx.early_words import _

        sentence = _(
            "Python 3.11 or newer is needed and this is Python {}.{}: install a newer one and run the same command "
            "with it, for example: python3.11 manage.py start"
        )
        sys.stderr.write(sentence.format(*sys.version_info[:2]) + "\n")
        sys.exit(1)


def main():
    check_python()
    from pbx.bootstrap import step_inside

    step_inside()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pbx.settings")
    from pbx.command_line import run

    run(sys.argv)


if __name__ == "__main__":
    main()
