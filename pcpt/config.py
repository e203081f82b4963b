"""One run is one YAML file: a ``RunConfig``. Sections that name a component (method, task, student,
teacher, data.source) take their keys from that component's nested ``Config`` dataclass, and the
``data`` section from the ``Data`` dataclass of the method or task.

Values are merged as plain trees first (files left to right, then ``key=value``) and checked once
against the dataclasses, so that every complaint can name the full key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pcpt import registry
from pcpt.choices import check_choice, check_minimum, did_you_mean
from pcpt.data.dataset import DataConfig
from pcpt.engine.optim import OptimConfig
from pcpt.engine.trainer import Trainer
from pcpt.students.kernel_order import KERNEL_ORDERS

# Section -> kind in the registry.
COMPONENTS = {
    "method": "methods",
    "task": "tasks",
    "student": "students",
    "teacher": "teachers",
    "data.source": "datasets",
}
# Sections of which a run has some: a method and its teacher, or a task.
LEADING = ("method", "teacher", "task")


@dataclass
class RunConfig:
    """Everything that decides a run.

    Attributes:
        run: folder that the run writes to.
        seed: of weights, sample order, augmentation and whatever the method draws.
        device: cpu, cuda, cuda:N, or auto (cuda where there is one).
        imports: modules or ``.py`` files that register components of your own.
        method, student, teacher: component sections: ``name`` and that component's keys. A method
            that can do without a teacher takes none where the section is left out.
        task: component section in place of ``method`` and ``teacher``.
        init: weights to start from: a run, an exported folder, or a checkpoint of another toolkit;
            see ``pcpt.engine.init.initialise``. Empty starts from random weights.
        init_kernel_order: tap order of a MinkowskiEngine checkpoint: auto, cube or hybrid.
        data: see the method's or task's ``Data``, such as ``DataConfig``; its ``source`` is a
            component section too.
        optim: see ``OptimConfig``.
        train: see ``Trainer.Config``.
    """

    run: str = MISSING
    seed: int = 0
    device: str = "auto"
    imports: list[str] = field(default_factory=list)
    method: Any = None
    task: Any = None
    student: Any = MISSING
    teacher: Any = None
    init: str = ""
    init_kernel_order: str = "auto"
    data: Any = MISSING
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: Trainer.Config = field(default_factory=Trainer.Config)

    def __post_init__(self) -> None:
        check_choice("device", self.device.partition(":")[0], ["auto", "cpu", "cuda"])
        check_minimum("seed", self.seed, 0)
        check_choice("init_kernel_order", self.init_kernel_order, KERNEL_ORDERS)
        if not self.run:
            raise ValueError("run is '', expected the run's folder, such as runs/demo")


def load_config(paths: Sequence[str | Path], overrides: Sequence[str] = ()) -> RunConfig:
    """The run that YAML files, merged left to right, and ``key=value`` overrides describe.

    A later file or override that gives a component section another ``name`` starts the section
    anew: keys of the earlier component are not carried over. ``${key}`` means another key's
    value. An override of a text is taken as it is written, so that ``run=007`` is no number and
    ``init=`` is empty.

    Raises:
        FileNotFoundError: no such file.
        ValueError: broken YAML, an unknown key or name, a missing or mistyped value; the message
            names it.
    """
    overrides = list(map(_protected, overrides))
    return _make_config(_merge([*map(_read, paths), _parse(overrides)]), _written(overrides))


def make_config(values: Mapping[str, Any]) -> RunConfig:
    """The run that a nested mapping describes; raises as ``load_config``."""
    return _make_config(values, {})


def _make_config(values: Mapping[str, Any], written: Mapping[str, Any]) -> RunConfig:
    try:
        tree = OmegaConf.to_container(OmegaConf.create(dict(values)), resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"config: {error}") from None
    _import_all(tree)
    schema = OmegaConf.structured(RunConfig)
    leading = _leading_section(tree)
    sections = [leading, "student"]
    if leading == "method" and _takes_teacher(tree):
        sections.append("teacher")
    for section in sections:
        component = _component_schema(tree, section, COMPONENTS[section])
        OmegaConf.update(schema, section, component, merge=False)
    owner = registry.get(COMPONENTS[leading], _name_of(tree, leading))
    data = OmegaConf.structured(getattr(owner, "Data", DataConfig))
    OmegaConf.update(schema, "data", data, merge=False)
    source = _component_schema(tree, "data.source", COMPONENTS["data.source"])
    OmegaConf.update(schema, "data.source", source, merge=False)
    _fill(schema, _without_absent(tree), "", written)
    for key in sorted(OmegaConf.missing_keys(schema)):
        raise ValueError(f"{key} is missing; set it in the config file or pass {key}=VALUE")
    config = OmegaConf.to_object(schema)
    assert isinstance(config, RunConfig)
    return config


def to_tree(config: RunConfig) -> dict[str, Any]:
    """The config as nested dicts and lists of plain values; ``make_config`` reads it back."""
    tree = OmegaConf.to_container(OmegaConf.create(asdict(config)))
    assert isinstance(tree, dict)
    return _without_absent(tree)


def to_yaml(config: RunConfig) -> str:
    """The resolved config as YAML; loading it repeats the run."""
    return OmegaConf.to_yaml(OmegaConf.create(to_tree(config)))


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two trees, as ``"optim.lr: 0.1 -> 0.2"``."""
    lines = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += [f"{key}.{line}" for line in changed_keys(old, new)]
        elif old != new:
            lines.append(f"{key}: {old} -> {new}")
    return lines


def _read(path: str | Path) -> DictConfig:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"config file {path} does not exist")
    try:
        loaded = OmegaConf.load(path)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ValueError(f"config file {path} is not valid YAML: {error}") from None
    except OSError as error:  # OmegaConf refuses a file that holds a bare number this way
        raise ValueError(f"config file {path} holds no keys: {error}") from None
    if not isinstance(loaded, DictConfig):
        raise ValueError(f"config file {path} must hold keys and values, not a list")
    return loaded


def _protected(override: str) -> str:
    """An override whose text YAML would cut short, at " #" say, or refuse: in quotes."""
    key, equals, text = override.partition("=")
    text = text.strip()
    if not equals or text[:1] in ("[", "{", "'", '"', ""):
        return override
    try:
        whole = yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        whole = ""
    if not isinstance(whole, str) or whole == text:
        return override
    quoted = text.replace("'", "''")
    return f"{key}='{quoted}'"


def _parse(overrides: Sequence[str]) -> DictConfig:
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not key or not equals:
            raise ValueError(f"override {override!r} is not key=value, such as optim.lr=1e-3")
    try:
        return OmegaConf.from_dotlist(list(overrides))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"overrides {' '.join(overrides)}: {error}") from None


def _written(overrides: Sequence[str]) -> dict[str, Any]:
    """Values of overrides by key with all their words as text, which YAML would make 7 of 007."""
    found: dict[str, Any] = {}
    for override in overrides:
        key, _, text = override.partition("=")
        found |= _leaves(key, yaml.load(text, yaml.BaseLoader) if text.strip() else "")
    return found


def _leaves(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {key: value}
    return {k: v for name, one in value.items() for k, v in _leaves(f"{key}.{name}", one).items()}


def _as_written(value: Any, written: Any, expected: Any) -> Any:
    """A parsed value as it was written, where text is expected and YAML took it for another."""
    if written == "" and value is None and expected is str:
        return ""
    if isinstance(value, str) or value is None:
        return value
    if expected in (str, str | None):
        return written if isinstance(written, str) and "${" not in written else value
    if expected == list[str] and isinstance(value, list) and isinstance(written, list):
        return [_as_written(one, word, str) for one, word in zip(value, written)]
    return value


def _merge(sources: Sequence[DictConfig]) -> DictConfig:
    merged = OmegaConf.create({})
    for source in sources:
        for section in COMPONENTS:
            old, new = _name_of(merged, section), _name_of(source, section)
            if old is not None and new not in (None, old):
                OmegaConf.update(merged, section, {}, merge=False)
        try:
            merged = OmegaConf.merge(merged, source)  # type: ignore[assignment]
        except OmegaConfBaseException as error:
            raise ValueError(f"config: {error}") from None
    return merged


def _name_of(tree: Any, section: str) -> Any:
    for key in (*section.split("."), "name"):
        if not isinstance(tree, Mapping) or key not in tree:
            return None
        tree = tree[key]
    return tree


def _import_all(tree: Any) -> None:
    """User modules come first: they may register what the other sections name."""
    names = tree.get("imports") or []
    if not isinstance(names, list):
        raise ValueError(f"imports is {names!r}, expected a list of modules or .py files")
    for name in map(str, names):
        try:
            registry.import_file(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise  # the module exists and lacks something of its own
            raise ValueError(
                f"imports: no module {name!r}; give a .py file or install it"
            ) from None


def _without_absent(tree: Any) -> dict[str, Any]:
    return {str(k): v for k, v in tree.items() if k not in LEADING or v is not None}


def _leading_section(tree: Any) -> str:
    """ "method" or "task": whichever the run is of; a method where neither is given."""
    if tree.get("task") is None:
        return "method"
    for section in ("method", "teacher"):
        if tree.get(section) is not None:
            raise ValueError(
                f"a run has a task or a method with its teacher, not both: take out task or "
                f"{section}"
            )
    return "task"


def _takes_teacher(tree: Any) -> bool:
    """Whether a method's run has a teacher: it names one, or its method cannot do without."""
    if tree.get("teacher") is not None or _name_of(tree, "method") is None:
        return True
    name = _name_of(tree, "method")
    if name not in registry.list_names("methods"):
        return False  # a complaint about the method comes first
    return getattr(registry.get("methods", name), "needs_teacher", True)


def _component_schema(tree: Any, section: str, kind: str) -> Any:
    name = _name_of(tree, section)
    if name is None:
        names = ", ".join(registry.list_names(kind))
        raise ValueError(f"{section}.name is missing; set it to one of {names}")
    try:
        return OmegaConf.structured(registry.get(kind, name).Config)
    except ValueError as error:
        raise ValueError(f"{section}.name: {error}") from None


def _fill(node: DictConfig, values: Any, path: str, written: Mapping[str, Any]) -> None:
    """Writes a tree into a structured config key by key, so that errors know where they are;
    ``written`` as of ``_written``."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} is {values!r}, expected a section with keys {_keys(node)}")
    for key, value in values.items():
        full_key = f"{path}.{key}" if path else str(key)
        if key not in list(node):  # `in` alone denies keys whose value is still missing
            hint = did_you_mean(key, map(str, node))
            raise ValueError(f"unknown config key {full_key}{hint} (known here: {_keys(node)})")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and _is_section(child):
            _fill(child, value, full_key, written)
            continue
        if full_key in written:
            value = _as_written(value, written[full_key], _hint(node, key))
        try:
            OmegaConf.update(node, key, value, merge=False)
        except OmegaConfBaseException:
            expected = _type_name(node, key)
            kind = type(value).__name__
            raise ValueError(f"{full_key} is {value!r} ({kind}), expected {expected}") from None


def _is_section(node: DictConfig) -> bool:
    return OmegaConf.get_type(node) not in (None, dict)


def _keys(node: DictConfig) -> str:
    return ", ".join(map(str, node))


def _hint(node: DictConfig, key: Any) -> Any:
    owner = OmegaConf.get_type(node)
    return get_type_hints(owner).get(key, Any) if owner is not None else Any


def _type_name(node: DictConfig, key: Any) -> str:
    hint = _hint(node, key)
    return hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
