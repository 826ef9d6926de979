"""Backups: everything that cannot be had again, in one file that is checked after it is written."""
