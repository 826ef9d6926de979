"""Shelly devices of the second generation and later, over MQTT with the settings that they have from the factory.

`frames` reads what they publish, `overlay` keeps their status as they tell it in
pieces, `components` knows which of their components is what, `making` says which of our devices and
fields that makes, `tables` reads the configuration, `source` puts it together.
"""
