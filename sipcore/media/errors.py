"""The one error family of the media room.

    MediaError
    ├── MediaUnavailable   no media engine could be reached, or the one of this call is gone
    └── MediaRefused       the engine has answered "error": no such call, no ports left, an unreadable description

``str()`` of them is for the log; the reason of a refusal comes from the engine, which we or the administrator run.
"""


class MediaError(Exception):
    """The media of a call could not be arranged. ``reason``: one line of English."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MediaUnavailable(MediaError):
    """Nobody answered in time. For a new call the SIP answer is 503, a running one has to be moved."""


class MediaRefused(MediaError):
    """The engine answers, but not this."""
