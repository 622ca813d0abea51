"""What the watches have seen, in memory. Nothing here survives a restart: it is read again from the cluster.

NB: a watch that reconnects never says what was deleted meanwhile, so lists are merged in at times (`merge_list`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pagoda_operator.controller.slim import slim
from pagoda_operator.kube.objects import INSTANCE_LABEL, MODEL_DEPLOYMENT_LABEL, Object
from pagoda_operator.kube.pods import is_made_by

Key = tuple[str, str]
Id = tuple[str, str, str]
"""Kind, namespace and name of an object."""

MODEL = "ModelDeployment"
MAXIMUM_VERSION_DIGITS = 39
MAXIMUM_GONE = 10_000
"""Deletions that are remembered, so that an event that comes late does not bring back what is gone."""
INSTANCE_LABELS = (MODEL_DEPLOYMENT_LABEL, INSTANCE_LABEL)


def id_of(obj: Object) -> Id:
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def version_of(obj: Object) -> int:
    """Returns the resource version as a number, which can be compared within one kind.

    One that is no number is older than all.
    """
    text = str(obj["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() and len(text) <= MAXIMUM_VERSION_DIGITS else -1


def owner_of(obj: Object) -> Key | None:
    """Returns the ModelDeployment that this object is or belongs to; None for objects that concern all."""
    meta = obj["metadata"]
    namespace = meta.get("namespace", "")
    if obj["kind"] == MODEL:
        return namespace, meta["name"]
    for owner in meta.get("ownerReferences") or ():
        if owner["kind"] == MODEL:
            return namespace, owner["name"]
    labels = meta.get("labels") or {}
    name = next((labels[label] for label in INSTANCE_LABELS if label in labels), None)
    return (namespace, name) if name else None


def host_of(obj: Object) -> str | None:
    """Returns the host that a ModelDeployment asks for; None for one that asks for none, and for any other object."""
    ingress = (obj.get("spec") or {}).get("ingress") if obj["kind"] == MODEL else None
    host = ingress.get("host") if isinstance(ingress, dict) else None
    return host if isinstance(host, str) else None


class Store:
    def __init__(self) -> None:
        self._objects: dict[Id, Object] = {}
        self._hosts: dict[str, dict[Id, None]] = {}
        """The ModelDeployments that ask for a host, in the order in which they came."""
        self._owned: dict[Key, dict[Id, None]] = {}
        self._gone: dict[Id, int] = {}
        """The last version of what was deleted, oldest deletion first."""

    def put(self, obj: Object) -> bool:
        """Keeps the newest version of an object; returns whether this one is news."""
        id_ = id_of(obj)
        old = self._objects.get(id_)
        if old is not None and version_of(old) >= version_of(obj):
            return False
        if 0 <= version_of(obj) <= self._gone.get(id_, -1):
            return False
        self._forget(id_)
        kept = self._objects[id_] = slim(obj)
        if (owner := owner_of(kept)) is not None:
            self._owned.setdefault(owner, {})[id_] = None
        if (host := host_of(kept)) is not None:
            self._hosts.setdefault(host, {})[id_] = None
        return True

    def remove(self, obj: Object) -> bool:
        """Forgets the object unless one that was made after it has its name; returns whether that is news."""
        id_ = id_of(obj)
        old = self._objects.get(id_)
        if old is not None and version_of(old) > version_of(obj):
            return False
        self._note_gone(id_, version_of(obj))
        self._forget(id_)
        return old is not None

    def forget(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Forgets an object that we deleted, before the watch says so."""
        obj = self.get(kind, namespace, name)
        if obj is not None and obj["metadata"]["uid"] == uid:
            self._note_gone(id_of(obj), version_of(obj))
            self._forget(id_of(obj))

    def merge_list(self, kind: str, items: Iterable[Object], *, known_before: set[Id]) -> list[Object]:
        """Takes a fresh list as the truth; returns the objects that changed.

        `known_before` are the ids from before the list was asked for: later ones may be too new to be in it.
        """
        listed = {id_of(item): item for item in items}
        changed = [item for item in listed.values() if self.put(item)]
        for id_ in [i for i in known_before if i[0] == kind and i not in listed and i in self._objects]:
            changed.append(self._objects[id_])
            self._forget(id_)
        return changed

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._objects.get((kind, namespace, name))

    def ids(self) -> set[Id]:
        return set(self._objects)

    def of_kind(self, kind: str) -> list[Object]:
        return [obj for (k, _, _), obj in self._objects.items() if k == kind]

    def rivals(self, model: Object) -> list[tuple[Object, Object | None]]:
        """Returns the other ModelDeployments that ask for the same host, each with the Ingress of its name."""
        others = [id_ for id_ in self._hosts.get(host_of(model) or "", ()) if id_ != id_of(model)]
        return [(self._objects[id_], self.get("Ingress", *id_[1:])) for id_ in others]

    def models_with_ingress(self) -> list[tuple[Key, Object, Object | None]]:
        """Returns the ModelDeployments that ask for a host, each with the Ingress of its name."""
        ids = [id_ for asking in self._hosts.values() for id_ in asking]
        return [(id_[1:], self._objects[id_], self.get("Ingress", *id_[1:])) for id_ in ids]

    def children(self, key: Key) -> list[Object]:
        """Returns the model's objects.

        NB: a pod that merely has the labels is a stranger's and is never seen as one of ours.
        """
        found = [self._objects[id_] for id_ in self._owned.get(key, ()) if id_[0] != MODEL]
        return [child for child in found if child["kind"] != "Pod" or is_made_by(child, key[1])]

    def pods(self, key: Key) -> list[Object]:
        return [child for child in self.children(key) if child["kind"] == "Pod"]

    def concerned_by(self, obj: Object) -> list[Key]:
        """Returns the models to look at when this object changes.

        NB: labels are anybody's, and only a class concerns all.
        """
        owner = owner_of(obj)
        if owner is None:
            return [] if obj["metadata"].get("namespace") else list(self.model_keys())
        return [owner] if obj["kind"] == MODEL or self.get(MODEL, *owner) is not None else []

    def model_keys(self) -> Iterator[Key]:
        return iter([(namespace, name) for kind, namespace, name in self._objects if kind == MODEL])

    def _note_gone(self, id_: Id, version: int) -> None:
        version = max(version, self._gone.pop(id_, -1))
        self._gone[id_] = version
        if len(self._gone) > MAXIMUM_GONE:
            del self._gone[next(iter(self._gone))]

    def _forget(self, id_: Id) -> None:
        obj = self._objects.pop(id_, None)
        if obj is None:
            return
        _drop(self._owned, owner_of(obj), id_)
        _drop(self._hosts, host_of(obj), id_)


def _drop(index: dict[Any, dict[Id, None]], key: Any, id_: Id) -> None:
    if key is not None and key in index:
        index[key].pop(id_, None)
        if not index[key]:
            del index[key]
