"""One mail from standard input, sent by many sessions of one user at once.

    nsenter --net=/proc/PID/ns/net python3 flood.py USER PASSWORD SESSIONS

Half of the sessions come by port 465, half by 587, each from an address of its own in 127.0.6.0/24.
Prints how often each code answered: `{"250": 8}`.
"""

from __future__ import annotations

import functools
import json
import smtplib
import ssl
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor


@functools.cache
def trusting() -> ssl.SSLContext:
    """TLS that believes any certificate."""
    # Not the default one: it would read all of the machine's authorities each time.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main(user: str, password: str, sessions: int) -> None:
    """Send, then tell."""
    content = sys.stdin.buffer.read()

    def send(number: int) -> int:
        source = (f"127.0.6.{number + 1}", 0)
        context = trusting()
        try:
            if number % 2:
                smtp = smtplib.SMTP_SSL(
                    "127.0.0.1", 465, timeout=120, source_address=source, context=context
                )
            else:
                smtp = smtplib.SMTP("127.0.0.1", 587, timeout=120, source_address=source)
                smtp.starttls(context=context)
            with smtp:
                smtp.login(user, password)
                smtp.sendmail(user, ["someone@elsewhere.example"], content)
        except smtplib.SMTPResponseException as refusal:
            return refusal.smtp_code
        return 250

    with ThreadPoolExecutor(sessions) as pool:
        print(json.dumps(Counter(pool.map(send, range(sessions)))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
