"""Gives up what is only needed to open sockets (capabilities(7), credentials(7)).

Started as root the process becomes the user it was told to be; whoever it is, all capabilities go,
CAP_NET_RAW too, and none can be had again. The capture's sockets stay as they are.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import struct
from typing import TypeAlias

from sipwatch.daemon.errors import StartError

# linux/prctl.h, linux/capability.h
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_HEADER = struct.Struct("=Ii")
#: Effective, permitted and inheritable, for the lower and the upper 32 capabilities.
_NO_CAPABILITIES = bytes(24)
_NET_RAW = 1 << 13

Account: TypeAlias = pwd.struct_passwd

_libc = ctypes.CDLL(None, use_errno=True)


def find_user(name: str) -> Account:
    """The account of that name. Raises StartError."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise StartError(
            f"--user {name}: no such user; make one: useradd --system --no-create-home {name}"
        ) from None


def give_directory(path: str, account: Account) -> None:
    """Makes the directory if it is not there, for this account. Raises StartError."""
    try:
        if not os.path.isdir(path):
            os.makedirs(path, mode=0o750)
            os.chown(path, account.pw_uid, account.pw_gid)
    except OSError as error:
        raise StartError(
            f"{path}: {error.strerror}; set records.directory to another place"
        ) from None


def become(account: Account) -> None:
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


def drop_capabilities() -> bool:
    """From here on the process has no capability and can get none. Raises StartError.

    False where capset(2) is forbidden, as the hardened unit does, and the process has nothing but
    CAP_NET_RAW: then it keeps that one.
    """
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = _HEADER.pack(_CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, _NO_CAPABILITIES):
        why = os.strerror(ctypes.get_errno())
        if ctypes.get_errno() == errno.EPERM and not _permitted() & ~_NET_RAW:
            return False
        raise StartError(f"cannot give up capabilities: {why}")
    return True


def _permitted() -> int:
    """The capabilities that this process has or may take, as bits; all when that is not told."""
    buffer = ctypes.create_string_buffer(_NO_CAPABILITIES)
    if _libc.capget(ctypes.create_string_buffer(_HEADER.pack(_CAPABILITY_VERSION_3, 0)), buffer):
        return -1
    _, lower, _, _, upper, _ = struct.unpack("=6I", buffer.raw[: len(_NO_CAPABILITIES)])
    return int(upper) << 32 | int(lower)
