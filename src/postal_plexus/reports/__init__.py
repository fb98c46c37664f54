"""Reports of other servers about mail in our name: DMARC aggregate reports and TLS reports.

Pure: octets in, values out. Strangers write the reports: archives are unpacked up to a limit, XML
is parsed without entities, and an unreadable report raises an error that names it.
"""
