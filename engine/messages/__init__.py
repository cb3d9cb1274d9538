"""Text messages out: the law's rules, the outbox, the gateways. Never decides that a call deserves one."""
