"""What a trace of a delivery says of the calls that EFS must answer."""

from benchmarks.host.storage import weighed

STORE = "/srv/mail/"
TRACE = """\
12 openat(AT_FDCWD</>, "/srv/mail/a/u.1", O_RDWR|O_CREAT|O_EXCL, 0600) = 9</srv/mail/a/u.1>
12 write(9</srv/mail/a/u.1>, "mail"..., 4096) = 4096
12 write(9</srv/mail/a/u.1>, "mail"..., 100) = 100
12 fdatasync(9</srv/mail/a/u.1>) = 0
12 close(9</srv/mail/a/u.1>) = 0
12 openat(AT_FDCWD</>, "/srv/mail/a/index.log", O_RDWR|O_APPEND) = 9</srv/mail/a/index.log>
12 fcntl(9</srv/mail/a/index.log>, F_SETLKW, {l_type=F_WRLCK}) = 0
12 fstat(9</srv/mail/a/index.log>, {st_mode=S_IFREG|0600}) = 0
12 pread64(9</srv/mail/a/index.log>, "", 100, 0) = 100
12 write(9</srv/mail/a/index.log>, "uid"..., 40) = 40
12 close(9</srv/mail/a/index.log>) = 0
12 newfstatat(AT_FDCWD</>, "/srv/mail/a/index", 0x7ffd, 0) = 0
12 rename("/srv/mail/a/one", "/srv/mail/a/two") = 0
12 openat(AT_FDCWD</>, "/run/volatile/lock", O_RDWR|O_CREAT, 0600) = 10</run/volatile/lock>
"""


def test_writes_are_creations_syncs_renames_and_what_a_close_leaves() -> None:
    """The created file's sync is one, its close none; the log's close writes what was not synced."""
    _, writes = weighed(TRACE, (STORE,))
    assert writes == 4


def test_reads_are_opens_locks_and_questions_by_name() -> None:
    """Descriptors are answered by the client's cache, and other file systems do not count."""
    reads, _ = weighed(TRACE, (STORE,))
    assert reads == 3
