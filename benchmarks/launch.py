"""Start one command, wait for it, and print its exit status, wall time, CPU time and peak memory.

A process of its own, and a small one, for wait4(2) tells the larger of the command's peak and its
parent's at the fork. Arguments: core or ``-``, file for the command's standard output, command.
"""

import os
import sys
import time

core, output, *command = sys.argv[1:]
if core != "-":
    os.sched_setaffinity(0, {int(core)})
actions = [
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
]
begun = time.perf_counter()
child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - begun
print(
    os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
)
