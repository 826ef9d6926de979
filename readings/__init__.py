"""The contract on the bus: what a reading is and how it travels over MQTT.

Something belongs here only if changing it changes what is on the wire. Two
modules are rims around that contract: `broker`, the only one that imports
paho, and `settings`, which reads the configuration file that all programs
share (its `[mqtt]` table decides where the two sides of the bus meet).
"""
