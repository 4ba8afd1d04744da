"""The server's database: how to connect to it, and how its schema comes into being."""

from ingest_server.database.connection import connect
from ingest_server.database.migrations import migrate

__all__ = ["connect", "migrate"]
