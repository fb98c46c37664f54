"""The pure mail core: envelopes, receipts, replies, dispositions and LMTP, without any I/O."""
