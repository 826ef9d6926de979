"""What the dashboards are made from: one module each. `make dashboards` writes grafana/dashboards/*.json."""
