"""The HTTP API and its first page: everything read from the database, nothing written to it."""
