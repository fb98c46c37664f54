"""One way out: what may leave towards SES, by whose right, and how it is changed so that SES takes
it.

Everything that leaves passes `rules.decide`: a user's program (submission), an
alias that leads outside (forward), a user's filter (sieve), Postfix itself (bounce). The milter in
Postfix's container is the edge; here is no I/O.

    rules       (way, owner, envelope, fields, directory) -> Edits or Refusal
    fields      what AWS says of header fields: once only, its own, ours
    mailboxes   lists of addresses (RFC 5322), read generously, written strictly
    senders     who may send as an address; which addresses are ours
    recoding    bodies with lines over 998 octets (RFC 5322, 2.1.1)

It runs all the time on a host of 512 MB, so none of it imports `typing`, `dataclasses` or `enum`.
"""
