"""The contract on the bus: what a reading is and how it travels over MQTT.

Something belongs here only if changing it changes what is on the wire. A few
modules are rims around that contract, for both sides of it: `broker`, the only
one that imports paho; `settings`, which reads the configuration file that all
programs share (its `[mqtt]` table decides where the two sides meet);
`environment`, which overrides it; `service_manager`; and `database_file`, what
journal and store do alike with the file that each of them is.
"""
