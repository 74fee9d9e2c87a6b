"""What the user that the daemon is going to be may do with files, looked at with his eyes."""

from __future__ import annotations

import os

from sipwatch.daemon.errors import StartError
from sipwatch.daemon.privileges import Account, become


def may(account: Account | None, path: str, mode: int) -> bool:
    """Whether the account (None: whoever we are) may do this (os.R_OK...) with the file.

    Asked of the kernel, by a process that becomes him: modes alone do not say it all. No where we
    may not become him.
    """
    if account is None or account.pw_uid == os.geteuid():
        return os.access(path, mode, effective_ids=True)
    child = os.fork()
    if child == 0:
        allowed = False
        try:
            become(account)
            allowed = os.access(path, mode, effective_ids=True)
        except (StartError, OSError, ValueError):
            pass
        finally:
            os._exit(int(not allowed))
    _, status = os.waitpid(child, 0)
    return status == 0
