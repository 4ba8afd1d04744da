"""PostgreSQL with TimescaleDB and Mosquitto, as processes of one's own in a directory of one's own.

:mod:`deploy.runtime.lifecycle` is the door for other code; ``congto runtime`` is the same for people.
"""
