"""The files that the daemon is going to read: whether they are right, and whether it may."""

from __future__ import annotations

import os

from sipwatch.daemon.guard import Guard
from sipwatch.daemon.privileges import Account
from sipwatch.daemon.web_config import WebConfigError
from sipwatch.doctor.account import may
from sipwatch.doctor.findings import Finding, fail, ok


def usable(check: str, paths: tuple[str, ...], account: Account | None) -> Finding:
    """A finding about files that are right; the first names the others, if there are any."""
    for path in paths:
        if account is not None and not may(account, path, os.R_OK):
            return fail(
                check,
                f"{path} cannot be read by user {account.pw_name}",
                f"chgrp {account.pw_name} {path}; chmod g+r {path}; and x on its directories: "
                "the daemon reads it again after it has become that user",
            )
    return ok(check, f"{paths[0] if paths else 'environment and defaults'}: can be used")


def web(path: str, account: Account | None) -> Finding:
    """The web configuration with its certificates."""
    check = "web configuration"
    try:
        named = Guard(path).access().config.tls
    except WebConfigError as error:
        return fail(check, str(error), "correct it; while it runs, the daemon keeps the old one")
    return usable(check, (path, *(named.files if named else ())), account)
