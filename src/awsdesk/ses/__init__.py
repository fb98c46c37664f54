"""The SES stand-in: what SES does with mail that arrives and mail that is sent.

Pure, without I/O: `rules` (which receipt rule applies to whom), `header` (reading a mail's header
block), `trace` (the header lines SES puts on top), `verdicts` (spam, virus, SPF, DKIM, DMARC),
`notification` (the JSON published for a received mail), `credentials` (the SMTP password),
`submission` (what SES says to a mail handed in for sending), `events` (bounce, complaint,
delivery), `report` (delivery status notifications).

Edges: `protocol` (SMTP that keeps every byte), `receiving`, `sending`, `actions` (S3 and SNS as the
SES service principal), `outbox`, `received` (what was accepted in the last 24 hours).
"""
