"""Reports: what was used per day and month, from what Prometheus has kept."""
