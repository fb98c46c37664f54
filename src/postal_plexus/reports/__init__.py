"""What other servers report of mail in our name: DMARC aggregates and TLS reports.

Pure: octets in, values out. A report is written by a stranger: archives are unpacked to a bound,
XML is read without entities, and what cannot be read is an error that names the report.
"""
