"""The command line, and nothing else: it starts what the other packages make."""
