"""A dead letter: the queue entry of a mail, whole, with these attributes.

`deliver` writes them, and reads them of a letter that was put back; operators' tools read them.
"""

REASON, RECIPIENT, RECEIPT = "Reason", "Recipient", "Receipt"
"""Why it could not be delivered; to whom, or nothing for all; SES's id of the mail."""
VIRUS = "virus"
"""The reason of a mail that is held because SES found a virus in it."""
