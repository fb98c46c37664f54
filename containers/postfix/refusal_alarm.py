"""Report mail beyond a limit to CloudWatch, in its embedded metric format."""

import os
import threading
import time

from submission_limits import Refusal

METRIC_SECONDS = 60


class Alarm:
    """Reports refusals to CloudWatch, with the login and the window that was full."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def refused(self, login: str, refusal: Refusal) -> None:
        """Count a refusal, and write a line unless one was written within the minute."""
        now = time.time()
        with self._lock:
            count = self._untold.pop(login, 0) + 1
            if now - self._told_at.get(login, 0.0) < METRIC_SECONDS:
                self._untold[login] = count
                return
            self._told_at[login] = now
        import json

        metric = {"Name": "SubmissionsOverLimit", "Unit": "Count"}
        line = {
            "_aws": {
                "Timestamp": int(now * 1000),
                "CloudWatchMetrics": [
                    {"Namespace": "PostalPlexus", "Dimensions": [["Host"]], "Metrics": [metric]}
                ],
            },
            "Host": self._host,
            "SubmissionsOverLimit": count,
            "Login": login,
            "Limit": refusal.window,
            "Reply": refusal.text,
        }
        os.write(1, (json.dumps(line) + "\n").encode())
