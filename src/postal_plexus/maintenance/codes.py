"""How a task may end: its exit code, which its last line has too (sysexits, where it has one)."""

USAGE, DATA, NO_USER, UNAVAILABLE, FAULT = 64, 65, 67, 69, 70
NO_ROOM, AGAIN, REFUSED, KILLED, STOPPED = 73, 75, 77, 137, 143
