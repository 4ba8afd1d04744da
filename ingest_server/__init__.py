"""The server: MQTT in, TimescaleDB, billing runs, API."""
