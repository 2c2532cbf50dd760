"""What is documented: every route stands in docs/api.md with its method, and nothing stands there that is no route."""

import re
from pathlib import Path

from modules.httpapi.gate import HEALTH

DOCS = Path(__file__).resolve().parents[2] / "docs" / "api.md"
BY_HAND = {f"GET {HEALTH}", "GET /openapi.json"}  # answered beside the router


def test_routes_and_their_documentation_are_the_same(see):
    paths = see("/openapi.json").json()["paths"]
    routes = {f"{method.upper()} {path}" for path, verbs in paths.items() for method in verbs} | BY_HAND
    named = set(re.findall(r"^\| `([A-Z]+ /[^`]*)`", DOCS.read_text("utf-8"), re.MULTILINE))
    assert len(routes) > 50
    assert named == routes


def test_every_route_says_what_it_does_and_what_it_takes(see):
    document = see("/openapi.json").json()
    silent = [
        f"{method} {path}"
        for path, verbs in document["paths"].items()
        for method, about in verbs.items()
        if not about.get("description")
    ]
    assert silent == []
    used = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert used <= set(document["components"]["schemas"])
