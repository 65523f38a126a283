"""The traffic lab: namespaces, wires, services, actors, and exact truth. See ../README.md."""


class LabError(Exception):
    """Something that a person has to read as one sentence."""
