"""A dead letter: the unchanged queue entry of a message, with these attributes.

`deliver` writes them, and reads those of a redriven dead letter; operators' commands read them.
"""

REASON, RECIPIENT, RECEIPT = "Reason", "Recipient", "Receipt"
"""The reason; the recipient, or nothing for all; SES's id of the message."""
VIRUS = "virus"
"""The reason of a message that is held because SES found a virus in it."""
