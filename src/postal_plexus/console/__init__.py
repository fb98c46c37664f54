"""The operator's page: mail in transit, queues, dead letters, outbox, health and cost of one stack.

It listens on this machine only, and answers only requests with the printed address (`guard`). All
message content is hostile: templates escape it, and a message's HTML stays in a sandbox
(`mailview`).
"""
