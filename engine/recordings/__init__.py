"""Finished recordings: checked, kept and found again. Never starts one."""
