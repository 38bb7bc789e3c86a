"""gunicorn's own log lines, without the tokens of links: its error log names the address that failed, and its access
log, where somebody turns it on, every address."""

from __future__ import annotations

from gunicorn.glogging import Logger

from pbx.hidden_tokens import HideTokens


class TokenlessLogger(Logger):
    def setup(self, cfg) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            if not any(isinstance(each, HideTokens) for each in log.filters):
                log.addFilter(HideTokens())
