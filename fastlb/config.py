# SPDX-License-Identifier: Apache-2.0
"""Load balancers from a file: JSON, TOML (`.toml`) or YAML (`.yaml`, `.yml`).

The file has one object, `{"loadbalancer": {…}}` or `{"loadbalancers": [{…}, …]}`; each load balancer in it is what
`LoadBalancer.from_dict` takes: Octavia's fully-populated create, with our extensions. A key that stands twice in one
object is refused in every format: one of the two would be ignored.
"""

import importlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from fastlb.balancer import LoadBalancer
from fastlb.engine import Engine
from fastlb.errors import ConfigError, ConfigFileError, FastLBError, UnknownField
from fastlb.schema import kinds, relations

__all__ = ["check_startable", "load", "read"]

ONE, SEVERAL = "loadbalancer", "loadbalancers"


def read(path: str | os.PathLike[str]) -> Any:
    """What the file holds, as plain dicts and lists, whatever its format. Raises ConfigFileError."""
    name = os.fspath(path)
    parse = FORMATS.get(os.path.splitext(name)[1].lower(), _json)
    try:
        with open(name, "rb") as file:
            return parse(name, file.read().decode("utf-8-sig"))
    except ConfigFileError:
        raise
    except OSError as error:
        raise ConfigFileError(name, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise ConfigFileError(name, f"must be UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError:
        raise ConfigFileError(name, "is nested too deeply") from None
    except ValueError as error:
        raise ConfigFileError(name, str(error)) from error


def load(path: str | os.PathLike[str], *, engine: Engine | None = None) -> list[LoadBalancer]:
    """The load balancers that a file describes, at least one; nothing is started.

    engine: what they will run on; None: the default one. Raises ConfigFileError, which names the file, the place in it
    and what is allowed: `web.json: listeners[0].protocol_port=70000: must be 0..65535`.
    """
    name = os.fspath(path)
    balancers = []
    for place, document in _documents(name, read(name)):
        try:
            balancers.append(LoadBalancer.from_dict(document, engine=engine))
        except ConfigError as error:
            raise ConfigFileError(name, str(error.within(place))) from error
        except FastLBError as error:
            raise ConfigFileError(name, f"{place}{error}") from error
        except RecursionError:
            raise ConfigFileError(name, "is nested too deeply") from None
    return balancers


def check_startable(path: str | os.PathLike[str], balancers: Iterable[LoadBalancer]) -> None:
    """Refuse what `start()` would refuse before it binds, and two listeners on one address and port.

    Raises ConfigFileError.
    """
    name = os.fspath(path)
    taken: dict[tuple[str, str, int], str] = {}
    for balancer in balancers:
        try:
            balancer._check_startable()
        except FastLBError as error:
            raise ConfigFileError(name, f"{balancer._who()}: {error}") from error
        for listener in balancer.listeners:
            port = listener.protocol_port
            if not (balancer.admin_state_up and listener.admin_state_up and port):
                continue
            who = f"{listener._who()} of {balancer._who()}"
            for vip in balancer.vips:
                other = taken.setdefault((relations.port_group(listener.protocol), vip, port), who)
                if other != who:
                    raise ConfigFileError(name, f"{who}: protocol_port={port} on {vip} is taken by {other}")


def _documents(name: str, content: Any) -> list[tuple[str, Any]]:
    """The load balancers in the file, each with the place that goes before the places in it."""
    try:
        if not isinstance(content, dict) or not content.keys() & {ONE, SEVERAL}:
            raise ConfigFileError(name, f'must be an object with "{ONE}" or "{SEVERAL}"')
        wrapper = ONE if ONE in content else SEVERAL
        for other in content.keys() - {wrapper}:
            raise UnknownField(other, f'no such field beside "{wrapper}"')
        if wrapper == ONE:
            return [("", content)]
        documents = kinds.items(SEVERAL, content[SEVERAL], "load balancers")
        if not documents:
            raise ConfigError(SEVERAL, documents, "must not be empty")
        for at, document in enumerate(documents):
            if not isinstance(document, dict):
                raise ConfigError(f"{SEVERAL}[{at}]", document, "must be a mapping of fields to values")
        return [(f"{SEVERAL}[{at}].", document) for at, document in enumerate(documents)]
    except ConfigError as error:
        raise ConfigFileError(name, str(error)) from None


# The formats: each takes the file's name and its text. ValueError says what is wrong, where the format tells no place.


def _json(name: str, text: str) -> Any:
    import json

    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        known = os.path.splitext(name)[1].lower() in FORMATS
        why = "" if known else f" (a name without {', '.join(FORMATS)} is taken for JSON)"
        raise ConfigFileError(
            f"{name}:{error.lineno}:{error.colno}", f"must be JSON{why}: {error.msg}"
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"{twice!r} must stand only once in an object; this one has {', '.join(found)}")
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"must be JSON, which has no {word}")


def _toml(name: str, text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"must be TOML: {error}") from error


def _yaml(name: str, text: str) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError:
        raise ValueError("reading YAML needs PyYAML: pip install pyyaml") from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if key.tag == "tag:yaml.org,2002:merge":
                    continue
                problem = ""
                if key.tag != "tag:yaml.org,2002:str":
                    problem = "a key must be a string: put it into quotes"
                elif key.value in seen:
                    problem = f"{key.value!r} must stand only once in a mapping"
                if problem:
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, error.problem or error.context
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigFileError(where, f"must be YAML: {problem}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"must be YAML: {' '.join(str(error).split())}") from error


FORMATS: dict[str, Callable[[str, str], Any]] = {
    ".json": _json,
    ".toml": _toml,
    ".yaml": _yaml,
    ".yml": _yaml,
}
