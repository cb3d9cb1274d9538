"""Live calls: one task and one mailbox each, from ringing to hung up. Decides nothing about where a call goes."""
