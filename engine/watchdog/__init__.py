"""The small process that cuts a frozen engine off."""
