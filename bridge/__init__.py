"""Exports readings: MQTT in, /metrics and remote write out."""
