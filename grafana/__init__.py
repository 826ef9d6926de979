"""Grafana's provisioning, its dashboards, and what they are made from."""
