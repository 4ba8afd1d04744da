"""A real ``congto api run``, and a client for it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

TOKEN = "a-token-for-tests-0123456789"
PROBLEM = "application/problem+json"
STOP_S = 20  # more than the server's own patience with requests under way


@dataclass(frozen=True)
class Api:
    """A server, and clients with its token and without."""

    url: str
    process: "subprocess.Popen[str]"
    client: httpx.Client
    stranger: httpx.Client

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of a request that must succeed."""
        answer = self.client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def problem(self, path: str, status: int, **parameters: Any) -> dict[str, Any]:
        """Return the problem of a request that must fail with ``status``."""
        return problem_of(self.client.get(path, params=parameters), status)


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem details of an answer, and see that they are some."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body = answer.json()
    assert set(body) >= {"type", "title", "status", "detail"}
    assert body["status"] == status
    assert body["type"].startswith("/docs#")
    assert "Traceback" not in answer.text
    return dict(body)


@contextmanager
def serving(dsn: str, *words: str, environment: dict[str, str] | None = None) -> Iterator[Api]:
    """Run the server on a free port until the block ends; it must then stop with status 0."""
    environment = {"CONGTO_API_TOKEN": TOKEN} if environment is None else environment
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONGTO_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "api", "run", "--port", "0", *words],
        env={**kept, "CONGTO_DSN": dsn, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        match = re.search(r"http://[\d.]+:\d+/", said)
        assert match, said
        with httpx.Client(base_url=match[0], timeout=STOP_S) as stranger:
            token = {"Authorization": f"Bearer {environment.get('CONGTO_API_TOKEN', 'none')}"}
            with httpx.Client(base_url=match[0], timeout=STOP_S, headers=token) as client:
                yield Api(match[0], process, client, stranger)
        process.terminate()
        assert process.wait(STOP_S) == 0
    finally:
        process.kill()
        process.communicate()
