"""Gives up what is only needed to open sockets (capabilities(7), credentials(7)).

Started as root the process becomes the user it was told to be; whoever it is, all capabilities go,
CAP_NET_RAW too, and none can be had again. The capture's sockets stay as they are.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import struct

from sipwatch.daemon.errors import StartError

# linux/prctl.h, linux/capability.h
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_HEADER = struct.Struct("=Ii")
#: Effective, permitted and inheritable, for the lower and the upper 32 capabilities.
_NO_CAPABILITIES = bytes(24)

_libc = ctypes.CDLL(None, use_errno=True)


def find_user(name: str) -> pwd.struct_passwd:
    """The account of that name. Raises StartError."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise StartError(
            f"--user {name}: no such user; make one: useradd --system --no-create-home {name}"
        ) from None


def give_directory(path: str, account: pwd.struct_passwd) -> None:
    """Makes the directory if it is not there, for this account. Raises StartError."""
    try:
        if not os.path.isdir(path):
            os.makedirs(path, mode=0o750)
            os.chown(path, account.pw_uid, account.pw_gid)
    except OSError as error:
        raise StartError(
            f"{path}: {error.strerror}; set records.directory to another place"
        ) from None


def become(account: pwd.struct_passwd) -> None:
    """From here on the process is this user, with the groups that he has. Raises StartError."""
    if os.geteuid() == account.pw_uid:
        return
    try:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    except OSError as error:
        raise StartError(
            f"cannot become user {account.pw_name}: {error.strerror}; start as root, or as that "
            "user with CAP_NET_RAW"
        ) from None


def drop_capabilities() -> None:
    """From here on the process has no capability and can get none. Raises StartError."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = _HEADER.pack(_CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, _NO_CAPABILITIES):
        why = os.strerror(ctypes.get_errno())
        raise StartError(f"cannot give up capabilities: {why}")
