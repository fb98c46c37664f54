"""The operator's page: mail in flight, queues, dead letters, outbox, health and cost of one stack.

It answers on this machine only, and only whom the address was printed for (`guard`). Everything
that it shows of mails is hostile: templates escape, and a mail's HTML stays in a sandbox
(`mailview`).
"""
