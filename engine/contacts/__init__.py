"""What people have agreed to get, each consent with its proof. Sends nothing, and takes no silence for a yes."""
