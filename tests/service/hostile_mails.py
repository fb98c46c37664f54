"""Messages that try what was reported of webmail programs, most of it of Roundcube in 2023 to 2026.

Whatever gets through asks for an address, or changes the title of the page.
"""

from __future__ import annotations

import base64
import struct
from email.message import EmailMessage

SENDER = "mallory@elsewhere.example"
_RAN = "parent.document.title=document.title='ran'"
_SCRIPTED = base64.b64encode(
    f'<svg id="x" xmlns="http://www.w3.org/2000/svg"><image href="x" onerror="{_RAN}"/></svg>'.encode()
).decode()


def hostile(there: str, recipient: str) -> EmailMessage:
    """Return a mail whose HTML tries it; `there` begins the addresses for which it asks."""
    message = EmailMessage()
    message["From"], message["To"] = SENDER, recipient
    message["Subject"] = "Plan <script>document.title='ran'</script>"
    message["Message-ID"] = "<hostile@elsewhere.example>"
    message.set_content("The text.")
    message.add_alternative(
        f"""<body background="{there}/body"><h1>The plan</h1><script>{_RAN};fetch("{there}/script")</script>
        <img src="{there}/image" onerror="{_RAN}"><img src="x" onerror="{_RAN}">
        <svg onload="{_RAN}"><style><img src=x onerror="{_RAN}"></style></svg>
        <math><mtext><table><mglyph><style><img src=x onerror="{_RAN}"></style></mglyph></table></mtext>
        </math><link rel="stylesheet" href="{there}/sheet"><base href="{there}/">
        <meta http-equiv="refresh" content="0; url={there}/refresh">
        <style>@import url({there}/import); h1 {{ background: url({there}/background) }}
        :root {{ --x: url({there}/var) }} h2 {{ background: var(--x) }}
        h3 {{ background: u\\72l({there}/escaped); content: '&amp;'; position: fixed !important }}</style>
        <h2 style="--y: url({there}/inline-var); background: var(--y)">A</h2><h3>B</h3>
        <p style="background-image: url('{there}/style')">styled</p>
        <p style="content: '&amp;#59; background: url({there}/ampersand)'">C</p>
        <iframe src="{there}/frame" srcdoc="<script>{_RAN}</script>"></iframe>
        <form action="{there}/form"><input name="q" autofocus onfocus="{_RAN}"><button>Go</button></form>
        <a href="javascript:{_RAN}">a link</a><audio src="{there}/audio" autoplay></audio>
        <svg><filter id="f"><feImage href="{there}/feimage" xlink:href="{there}/xlink"/></filter>
        <rect width="9" height="9" filter="url(#f)" fill="u\\72l({there}/funciri)" mask="url({there}/mask)"/>
        <image href="#"><animate attributeName="href" values="{there}/animated" dur="1s"/></image>
        <image><set attributeName="src" to="{there}/set"/></image>
        <g><animate attributeName="style" values="background:url({there}/animated-style)"/></g>
        <a><animate attributeName="href" values="javascript:{_RAN}"/><text y="20">a drawn link</text></a>
        <use href="dAta:image/s\tvg+xml;base64,{_SCRIPTED}#x"/></svg>
        <link rel="stylesheet" href="http://127.0.0.1:143/"><link rel="stylesheet" href="http://[::ffff:7f00:1]:143/">
        </body>""",
        subtype="html",
    )
    return message


def in_parts(recipient: str) -> EmailMessage:
    """Return a mail that tries it in plain text, enriched text, names and types of attachments, and TNEF."""
    message = EmailMessage()
    message["From"] = f'"<img src=x onerror={_RAN}>" <{SENDER}>'
    message["To"], message["Subject"] = recipient, "In parts"
    tag = f"<img src=x onerror={_RAN}>"
    message.set_content(
        f'The parts.\n{tag}\n> {tag}\nhttp://a.example/"onmouseover="{_RAN}" x\n'
        f'http://a.example/<svg/onload={_RAN}>\nmailto:a@b.example?"onclick={_RAN}\n'
        f"[1] http://a.example/'><img/src=x onerror={_RAN}>\n[1]: \"onfocus={_RAN}\n"
    )
    message.add_attachment(f"<bold><param>{tag}</param>{tag}</bold>".encode(), "text", "enriched")
    message.add_attachment(b"x", "image", "png", filename=f'">{tag}.png')
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{_RAN}"><script>{_RAN}</script></svg>'
    message.add_attachment(svg.encode(), "image", "svg+xml", filename="drawing.svg")
    html = f"<html><svg><style></style><body onload={_RAN}><script>{_RAN}</script>"
    message.add_attachment(html.encode(), "text", "html", filename="page.html")
    message.add_attachment(b"x", "image", "png", filename="odd.png")
    message.get_payload()[-1].replace_header("Content-Type", f'image/png"><script>{_RAN}</script>')
    message.add_attachment(_tnef(), "application", "ms-tnef", filename="winmail.dat")
    return message


def _tnef() -> bytes:
    """Return a winmail.dat: an attachment whose MIME tag is markup, then lengths that do not fit."""
    tag = f'image/png"><img src=x onerror={_RAN}>'.encode()
    tag += b"\0" * (-len(tag) % 4)
    mime = struct.pack("<IHHII", 1, 0x1E, 0x370E, 1, len(tag)) + tag
    content = struct.pack("<IH", 0x223E9F78, 1)
    for attribute, value in (
        (0x69002, b"\0" * 14),
        (0x18010, b"a.png\0"),
        (0x69005, mime),
        (0x6800F, b"x"),
    ):
        content += struct.pack("<BII", 2, attribute, len(value)) + value + b"\0\0"
    return content + struct.pack("<BII", 2, 0x6800F, 0xFFFFFFFF) + b"\0" * 40
