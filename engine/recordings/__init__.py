"""Finished recordings: checked, encrypted, kept as long as they may be, heard by their owner. Never starts one."""
