"""Calendars and contacts: Radicale (CalDAV, CardDAV), as one WSGI application in the web container.

Radicale stores and speaks the protocols. What is ours is around it: passwords are checked by
Dovecot (`gate`), users of a stack share collections as its stack file says (`shares`, `links`), and
nobody takes more than a share of the host (`bounds`). `serve` puts them together.
"""
