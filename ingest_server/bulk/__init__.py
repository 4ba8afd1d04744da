"""Readings in files: in through the same admission as messages, out so that they can come in again."""
