"""A device that nobody knows yet: which unit answers, which profile fits, what its registers say, and why nothing does."""
