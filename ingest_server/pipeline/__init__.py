"""From MQTT to the database: receive, decode, admit, batch, store, receipt, acknowledge.

See ``docs/operations/ingest.md``.
"""
