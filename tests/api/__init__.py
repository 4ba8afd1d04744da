"""The HTTP API, asked by a client over a socket."""
