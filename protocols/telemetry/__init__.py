"""The MQTT contract between gateways and the server, version 1. See ``docs/contracts/mqtt.md``."""
