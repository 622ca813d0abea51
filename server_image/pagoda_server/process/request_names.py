"""The names of requests and groups inside the engine: a connection's own, behind the name of that connection.

Two fronts may so use the same names, and all of one connection's are known by how they begin.
"""

SEPARATOR = ":"
"""Never in a connection's name; a request's may hold it."""


def build_prefix(connection: str) -> str:
    """Returns what the names of all requests of one connection begin with, and no other's."""
    return f"{connection}{SEPARATOR}"


def add_prefix(connection: str, name: str) -> str:
    """Returns the engine's name for what the connection calls `name`."""
    return f"{build_prefix(connection)}{name}"


def split_prefix(name: str) -> tuple[str, str]:
    """Returns the connection and its own name for what the engine calls `name`."""
    connection, _, own = name.partition(SEPARATOR)
    return connection, own
