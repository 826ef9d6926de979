"""One TOML file per device model: which register holds what, and what is plausible there."""
