"""Log lines as facts: an event in the past tense, then what there is to know of it, ``key=value``."""

import json
import logging
import time

LOG = logging.getLogger("congto.ingest")


def fact(event: str, **fields: object) -> str:
    """Return one line: ``bundle.stored messages=12 rows=6000 took_ms=8``."""
    return " ".join([event, *(f"{key}={_quoted(value)}" for key, value in fields.items())])


def configure(level: int = logging.INFO) -> None:
    """Let the program's log go to standard error, each line with its UTC time and level."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])


def _quoted(value: object) -> str:
    text = "" if value is None else str(value)
    plain = text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else json.dumps(text, ensure_ascii=not text.isprintable())
