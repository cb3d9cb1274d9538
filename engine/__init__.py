"""Dari: takes calls on 050 numbers beside Asterisk, connects them, writes them down, and sends what the law allows."""
