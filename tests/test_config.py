"""Configs: merging, overrides, and complaints that name key, value and remedy."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from torch import nn

from pcpt import config, registry
from tests.conftest import REPOSITORY

BASE = {
    "run": "runs/x",
    "method": {"name": "config_method"},
    "student": {"name": "config_student"},
    "teacher": {"name": "config_teacher"},
    "data": {"source": {"name": "config_source"}},
}


@dataclass
class Inner:
    strength: float = 1.0


@registry.register("methods", "config_method")
class Method(nn.Module):
    @dataclass
    class Config:
        name: str = "config_method"
        temperature: float = 0.04
        sizes: list[int] = field(default_factory=lambda: [1, 2])
        window: tuple[float, float] = (0.5, 1.0)
        limit: float | None = None
        inner: Inner = field(default_factory=Inner)
        symmetric: bool = False


@registry.register("students", "config_student")
class Student(nn.Module):
    @dataclass
    class Config:
        name: str = "config_student"
        width: int = 8


@registry.register("teachers", "config_teacher")
class Teacher(nn.Module):
    @dataclass
    class Config:
        name: str = "config_teacher"
        weights: str = "imagenet"


@registry.register("teachers", "config_other_teacher")
class OtherTeacher(nn.Module):
    @dataclass
    class Config:
        name: str = "config_other_teacher"
        layer: int = 4


@registry.register("datasets", "config_source")
class Source:
    @dataclass
    class Config:
        name: str = "config_source"
        roots: list[str] = field(default_factory=list)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text(yaml.safe_dump(BASE))
    return path


def test_defaults_fill_what_is_not_given(base: Path) -> None:
    run = config.load_config([base])
    assert run.run == "runs/x"
    assert isinstance(run.method, Method.Config) and run.method.temperature == 0.04
    assert isinstance(run.method.inner, Inner)
    assert isinstance(run.data.source, Source.Config)
    assert run.seed == 0 and run.train.accumulate == 1 and run.optim.momentum == 0.9


def test_later_files_and_then_overrides_win(base: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.yaml"
    second.write_text("method: {temperature: 0.5, sizes: [7]}\noptim: {lr: 1e-4}\nseed: 3\n")
    run = config.load_config(
        [base, second],
        ["method.temperature=1e-2", "method.inner.strength=2", "data.source.roots=[a,b]"],
    )
    assert (run.method.temperature, run.method.inner.strength) == (0.01, 2.0)
    assert run.method.sizes == [7] and run.data.source.roots == ["a", "b"]
    assert run.optim.lr == 1e-4 and isinstance(run.optim.lr, float)
    assert run.seed == 3


def test_another_name_starts_the_section_anew(base: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.yaml"
    first.write_text("teacher: {weights: file.pth}\n")
    run = config.load_config([base, first], ["teacher.name=config_other_teacher"])
    assert run.teacher == OtherTeacher.Config(layer=4)
    same = config.load_config([base, first], ["teacher.name=config_teacher"])
    assert same.teacher.weights == "file.pth"


def test_resolved_yaml_repeats_the_run(base: Path, tmp_path: Path) -> None:
    words = ["optim.lr=3e-05", "method.window=[0.8,0.9]", "seed=4", "run=runs/seed${seed}"]
    run = config.load_config([base], words)
    assert run.run == "runs/seed4" and list(run.method.window) == [0.8, 0.9]
    saved = tmp_path / "config.yaml"
    saved.write_text(config.to_yaml(run))
    assert config.load_config([saved]) == run
    assert config.make_config(config.to_tree(run)) == run


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optm.lr=1", ["optm", "did you mean 'optim'"]),
        ("optim.learning_rate=1", ["optim.learning_rate", "known here", "lr"]),
        ("method.temprature=1", ["method.temprature", "did you mean 'temperature'"]),
        ("method.inner.strenght=1", ["method.inner.strenght", "did you mean 'strength'"]),
        ("data.source.root=x", ["data.source.root", "did you mean 'roots'"]),
        ("student.name=config_studnt", ["student.name", "did you mean 'config_student'"]),
        ("optim.lr=fast", ["optim.lr", "'fast'", "float"]),
        ("train.steps=1.5", ["train.steps", "1.5", "int"]),
        ("train.steps=true", ["train.steps", "True", "int"]),
        ("method.sizes=3", ["method.sizes", "3", "list[int]"]),
        ("method.symmetric=maybe", ["method.symmetric", "'maybe'", "bool"]),
        ("method.inner=3", ["method.inner", "3", "section"]),
        ("optim=null", ["optim", "None", "section"]),
        ("optim.lr=null", ["optim.lr", "None", "float"]),
        ("optim.lr=nan", ["optim.lr", "nan"]),
        ("optim.schedule=cosin", ["optim.schedule", "did you mean 'cosine'"]),
        ("optim.name=lamb", ["optim.name", "sgd, adam, adamw"]),
        ("train.amp=bf", ["train.amp", "bf16"]),
        ("run=", ["run is ''", "folder"]),
        ("run=null", ["run is None", "str"]),
        ("run=[1]", ["run is [1]", "str"]),
        ("data.held_out=1.0", ["data.held_out is 1.0", "less than 1"]),
        ("data.held_out=-0.1", ["data.held_out is -0.1", "at least 0"]),
        ("data.view_spacing=0", ["data.view_spacing is 0", "at least 1"]),
        ("data.views=0", ["data.views is 0", "at least 1"]),
        ("data.image_size=[240]", ["data.image_size is [240]", "height and width"]),
        ("data.image_size=[240,0]", ["data.image_size is [240, 0]", "[240, 320]"]),
        ("data.image_size=[240,320,3]", ["data.image_size is [240, 320, 3]"]),
        ("train.batch_size=0", ["train.batch_size", "0", "at least 1"]),
        ("device=gpu", ["device", "'gpu'", "cuda"]),
        ("seed=-1", ["seed", "-1"]),
        ("run", ["override 'run'", "key=value"]),
        ("optim.lr=[1", ["optim.lr=[1"]),
        ("run=${nowhere}", ["nowhere"]),
        ("imports=[no_such_module_of_mine]", ["imports", "no_such_module_of_mine"]),
        ("imports=[no/such/file.py]", ["imports", "no/such/file.py"]),
    ],
)
def test_mistakes_are_answered(base: Path, override: str, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        config.load_config([base], [override])
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "text", ["007", "1_000", "1e3", "2026_11_22", "2026-11-22", "1:30", "on", "0x1f", "1.50", "a=b"]
)
def test_texts_are_taken_as_they_are_written(base: Path, tmp_path: Path, text: str) -> None:
    words = [f"run={text}", f"teacher.weights={text}", f"data.source.roots=[a,{text}]"]
    run = config.load_config([base], words)
    assert (run.run, run.teacher.weights, run.data.source.roots) == (text, text, ["a", text])
    section = config.load_config([base], [f"teacher={{name: config_teacher, weights: {text}}}"])
    assert section.teacher.weights == text
    saved = tmp_path / "saved.yaml"
    saved.write_text(config.to_yaml(run))
    assert config.load_config([saved]) == run


@pytest.mark.parametrize("text", ["runs/ka #1", "@x", "%d", "it's #1", "`x", "!x y", "&a", "*a"])
def test_signs_of_yaml_in_a_text_are_signs(base: Path, text: str) -> None:
    run = config.load_config([base], [f"run={text}", f"init={text}", f"teacher.weights={text}"])
    assert (run.run, run.init, run.teacher.weights) == (text, text, text)
    with pytest.raises(ValueError, match=r"optim\.lr"):
        config.load_config([base], ["optim.lr=1e-3 # low"])


def test_nothing_is_an_empty_text(base: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.yaml"
    first.write_text("init: runs/a\n")
    run = config.load_config([base, first], ["init=", "teacher.weights="])
    assert (run.init, run.teacher.weights) == ("", "")


def test_the_last_of_several_overrides_of_a_text_counts(base: Path) -> None:
    words = ["run=007", "run=010", "teacher.weights=007", "teacher={name: config_teacher}"]
    run = config.load_config([base], [*words, "seed=8", "init=${seed}"])
    assert (run.run, run.teacher.weights, run.init) == ("010", "007", "8")
    assert config.load_config([base], ["run=007", "run='1'"]).run == "1"


@pytest.mark.parametrize("key", ["run", "method", "student", "teacher", "data"])
def test_what_is_missing_is_named(tmp_path: Path, key: str) -> None:
    path = tmp_path / "partial.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in BASE.items() if k != key}))
    with pytest.raises(ValueError, match=rf"^{key}.*missing"):
        config.load_config([path])


@pytest.mark.parametrize("text", ["a: [1\n", "a: 1\na: 2\n", "- a\n- b\n", "3\n", "a: b: c\n"])
def test_broken_files_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.yaml"):
        config.load_config([path])
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml"):
        config.load_config([tmp_path / "absent.yaml"])


def test_imports_register_components_first(base: Path, tmp_path: Path) -> None:
    mine = tmp_path / "config_mine.py"
    mine.write_text(
        "from dataclasses import dataclass\n"
        "from torch import nn\n"
        "from pcpt.registry import register\n"
        "@register('students', 'config_imported')\n"
        "class Imported(nn.Module):\n"
        "    @dataclass\n"
        "    class Config:\n"
        "        name: str = 'config_imported'\n"
        "        depth: int = 1\n"
    )
    run = config.load_config(
        [base], [f"imports=[{mine}]", "student.name=config_imported", "student.depth=2"]
    )
    assert run.student.depth == 2


def test_changed_keys() -> None:
    before = {"a": {"b": 1, "c": [1]}, "d": 2}
    after = {"a": {"b": 3, "c": [1]}, "e": 4}
    assert config.changed_keys(before, after) == ["a.b: 1 -> 3", "d: 2 -> None", "e: None -> 4"]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=str)
def test_every_shipped_config_loads(path: Path) -> None:
    loaded = config.load_config([path])
    assert config.make_config(config.to_tree(loaded)) == loaded


def test_a_bare_off_is_off() -> None:
    loaded = config.load_config([REPOSITORY / "configs" / "demo.yaml"], ["train.amp=off"])
    assert loaded.train.amp == "off"


def test_a_method_that_can_do_without_a_teacher_needs_no_section_of_one(monkeypatch) -> None:
    values = {key: value for key, value in BASE.items() if key != "teacher"}
    monkeypatch.setattr(Method, "needs_teacher", False, raising=False)
    run = config.make_config(values)
    assert run.teacher is None and "teacher" not in config.to_tree(run)
    assert config.make_config(BASE).teacher is not None, "one that is named is taken"
