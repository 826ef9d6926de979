"""What runs inside Home Assistant is no test, and cannot be imported outside of it."""

collect_ignore = ["probe"]
