"""Sources other than a Modbus bus: they report by themselves."""
