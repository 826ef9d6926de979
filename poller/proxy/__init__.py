"""The Modbus TCP port at which other programs share the poller's bus."""
