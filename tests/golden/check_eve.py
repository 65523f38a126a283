#!/usr/bin/env python3
"""Check every line of an eve.json against tests/golden/eve.schema.json.

Usage: check_eve.py FILE...   Exit 0: all fit; 1: the first line that does not, and why.
"""

import json
import pathlib
import sys

import jsonschema

SCHEMA = pathlib.Path(__file__).with_name("eve.schema.json")
BRANCH = {"flow": 0, "alert": 1, "anomaly": 2, "stats": 3}


def validators():
    """One validator an event type: its messages are about the line, not about `oneOf`."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return {
        kind: jsonschema.Draft202012Validator(
            {"$ref": schema["oneOf"][i]["$ref"], "$defs": schema["$defs"]}
        )
        for kind, i in BRANCH.items()
    }


def first_error(lines):
    """(line number, message) of the first line that does not fit, or None."""
    checks = validators()
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
        except ValueError as e:
            return number, str(e)
        check = checks.get(line.get("event_type") if isinstance(line, dict) else None)
        if check is None:
            return number, "no known event_type"
        error = jsonschema.exceptions.best_match(check.iter_errors(line))
        if error is not None:
            return number, f"{error.json_path}: {error.message}"
    return None


def main(paths):
    for path in paths:
        with open(path, encoding="utf-8", errors="strict") as lines:
            error = first_error(lines)
        if error is not None:
            print(f"{path}:{error[0]}: {error[1]}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
