"""What the system says when a file cannot be used, in the language of the person: its own words are English."""

from __future__ import annotations

import errno

from django.utils.translation import gettext as _


def reason_in_words(error: OSError) -> str:
    """Rare reasons stay in the words of the system."""
    match error.errno:
        case errno.ENOENT:
            return _("there is no such file or directory")
        case errno.EACCES | errno.EPERM:
            return _("this user may not do that")
        case errno.EISDIR:
            return _("it is a directory")
        case errno.ENOTDIR:
            return _("a part of the path is no directory")
        case errno.ENOSPC | errno.EDQUOT:
            return _("the disk is full")
        case errno.EROFS:
            return _("the file system is read-only")
        case errno.ENAMETOOLONG:
            return _("the name is too long")
    return error.strerror or type(error).__name__
