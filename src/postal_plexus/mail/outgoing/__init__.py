"""One way out: what may leave through SES, in whose name, and how it is changed for SES.

All outgoing mail passes `rules.decide`: from a user's program (submission), from an alias that
leads outside (forward), from a user's filter (sieve), and from Postfix itself (bounce). The milter
in Postfix's container is the edge; there is no I/O here.

    rules       (way, owner, envelope, fields, directory) -> Edits or Refusal
    fields      AWS's rules for header fields: once only, SES's own, ours
    mailboxes   lists of addresses (RFC 5322), read leniently, written strictly
    senders     who may send as an address; which addresses are ours
    recoding    bodies with lines over 998 octets (RFC 5322, 2.1.1)

It runs permanently on a host with 512 MB, so none of it imports `typing`, `dataclasses` or `enum`.
"""
