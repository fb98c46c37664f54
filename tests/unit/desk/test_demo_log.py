"""The timeline of `make run` is read from real log lines."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from postal_plexus.desk import demo_log

DAEMON = """\
2026-11-24 04:40:00,900 INFO awsdesk.ses.receiving ses.accepted message_id=old sender=<a@b.example> recipients=1 size=3 rules=r
2026-11-24 04:40:02,010 INFO awsdesk.ses.receiving ses.accepted message_id=new sender=<a@b.example> recipients=1 size=3 rules=r
2026-11-24 04:40:02,015 INFO awsdesk.ses.actions ses.stored message_id=new bucket=b key=k
Traceback (most recent call last):
2026-11-24 04:40:02,020 INFO awsdesk.ses.actions ses.notified message_id=new topic=t
2026-11-24 04:40:02,500 INFO awsdesk.ses.actions ses.stored message_id=other bucket=b key=k
2026-11-24 04:40:03,000 INFO awsdesk.ses.sending ses.sent message_id=x caller=c sender=s recipients=1
"""


def test_the_timeline_follows_one_mail(tmp_path: Path) -> None:
    """The timeline has only the first accepted mail's steps, with deliver's last."""
    (tmp_path / "daemon.log").write_text(DAEMON)
    begun = datetime(2026, 11, 24, 4, 40, 2).timestamp()  # noqa: DTZ001 - the log is in local time
    when = datetime.fromtimestamp(begun).astimezone().isoformat()
    (tmp_path / "deliver.log").write_text(
        "2026-11-24T04:40:02.1+00:00 stdout F not JSON\n"
        f'x stdout F {{"time": "{when}", "event": "delivered", "receipt": "other"}}\n'
        f'x stdout F {{"time": "{when}", "event": "delivered", "receipt": "new"}}\n'
    )
    steps = demo_log.incoming(tmp_path, begun)
    assert [0.01, 0.015, 0.02, 0.0] == [round(step.seconds, 3) for step in steps]
    assert demo_log.is_whole(steps)
    assert not demo_log.is_whole(steps[:-1])
    assert [1.0] == [round(step.seconds, 3) for step in demo_log.outgoing(tmp_path, begun)]


def test_no_logs_give_no_steps(tmp_path: Path) -> None:
    """A timeline without its middle is better than none."""
    assert [] == demo_log.incoming(tmp_path, 0.0)
    assert [] == demo_log.outgoing(tmp_path, 0.0)
