"""Makes readings: sources, filters, journal, MQTT."""
