"""Bytes and what they mean. No sockets, no clock, no database, no money."""
