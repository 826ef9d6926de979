"""A simulated heating house: a Modbus gateway with meter and heat pump, and sensors, for the demo and the tests."""
