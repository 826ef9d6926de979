"""Migration: the original system's readings under the names and labels of this one."""
