"""The page in a real browser: headless Chromium, offline."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pcpt.data.label_set import LabelSet
from pcpt.viz.scene_result import SceneResult
from pcpt.viz.viewer import viewer_html, write_viewer
from pcpt.viz.viewer.compress import chosen_rows, compress_features, quantize_positions
from tests.viz.browser import Browser, find_chromium
from tests.viz.results import CLASSES, scene_result

in_browser = pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
SIZE = (1000, 640)
STAGE = (slice(80, 560), slice(40, 640))  # of a screenshot: cloud, no buttons or hints
EVIL = '</script><script>hacked=1</script><img src=x onerror="hacked=1">&<b>'


@pytest.fixture(scope="module", params=["webgl2", "2d"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    options = () if request.param == "webgl2" else ("--disable-3d-apis",)
    with Browser(*options, width=SIZE[0], height=SIZE[1]) as opened:
        opened.kind = request.param  # type: ignore[attr-defined]
        yield opened


def shown(browser: Browser, folder: Path, result: SceneResult, **options: int) -> Browser:
    browser.problems.clear()
    browser.requests.clear()
    browser.open(write_viewer(folder / "page.html", result, **options))
    browser.settle()
    return browser


def stage(browser: Browser) -> np.ndarray:
    return browser.screenshot()[STAGE].astype(int)


def layer(browser: Browser) -> str:
    return browser.evaluate("document.documentElement.dataset.layer")


def drawn_share(browser: Browser) -> float:
    picture = stage(browser)
    return float((np.abs(picture - picture[0, 0]).sum(2) > 20).mean())


def place_of(browser: Browser, text: str) -> tuple[float, float]:
    """Middle of the button or label with a text."""
    return tuple(
        browser.evaluate(
            "(() => { const all = [...document.querySelectorAll('button, label')];"
            f"const found = all.find(e => e.textContent.includes({json.dumps(text)}));"
            "found.scrollIntoView({block: 'center'});"
            "const r = found.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
    )


# The chair stands left of the middle and the lamp right of it, seen along +y as "above" does.
def from_above(browser: Browser) -> None:
    browser.evaluate("document.getElementById('above').click()")
    browser.evaluate("document.getElementById('predicted-boxes').click()")
    browser.settle()


@in_browser
def test_draws_and_asks_for_nothing(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, scene_result())
    assert browser.evaluate("document.documentElement.dataset.renderer") == browser.kind
    assert layer(browser) == "prediction"
    assert drawn_share(browser) > 0.1
    assert len(np.unique(stage(browser).reshape(-1, 3), axis=0)) > 20
    assert browser.problems == []
    assert [r for r in browser.requests if not r.startswith(("file:", "data:"))] == []
    assert len(browser.requests) == 1


@in_browser
def test_click_colours_by_similarity(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, scene_result())
    from_above(browser)
    before = stage(browser)
    middle = browser.evaluate(
        "(() => { const r = document.getElementById('stage').getBoundingClientRect();"
        "return [r.width / 2, r.height / 2]; })()"
    )
    # pixels from the middle to either cube: "above" frames 0.86 of the scene's radius
    away = 0.7 * (SIZE[1] / 2) / (0.86 * radius(scene_result()))
    at = (middle[0] - away, middle[1])
    browser.click(*at)
    assert layer(browser) == "similarity"
    rows = browser.evaluate("document.getElementById('point-rows').textContent")
    assert "Labelchair" in rows and "Predictionchair" in rows and "Place" in rows
    after = stage(browser)
    assert (np.abs(after - before).sum(2) > 30).mean() > 0.1
    picture = browser.screenshot().astype(int)
    same = picture[int(at[1]) + 20, int(at[0]) + 20]  # beside the mark, still on the chair
    other = picture[int(middle[1]) + 20, int(middle[0] + away) + 20]
    assert same[0] > same[2] + 40  # the query's class is hot
    assert other[2] > other[0]  # another class is cold
    browser.press("Escape")
    assert layer(browser) == "prediction"
    assert browser.problems == []


def radius(result: SceneResult) -> float:
    ordered = result.points.double().sort(dim=0).values
    low, high = ordered[99], ordered[9899]
    return 0.5 * float((high - low).norm())


@in_browser
def test_query_can_be_switched_off(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, scene_result())
    from_above(browser)
    browser.evaluate("document.getElementById('query').click()")
    browser.click(330, 320)
    assert layer(browser) == "prediction"
    assert browser.evaluate("document.getElementById('point').hidden") is False


@in_browser
def test_legend_hides_a_class(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, scene_result())
    from_above(browser)
    before = drawn_share(browser)
    browser.click(*place_of(browser, "floor"))
    assert drawn_share(browser) < 0.5 * before
    browser.click(*place_of(browser, "show all"))
    assert abs(drawn_share(browser) - before) < 0.02


@in_browser
def test_orbit_layers_and_boxes(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, scene_result())
    pictures = [stage(browser)]
    for act in (
        lambda: browser.drag((300, 300), (420, 260)),
        lambda: browser.press("1"),
        lambda: browser.press("b"),
        lambda: browser.press("4"),
        lambda: browser.press("7"),
        lambda: browser.mouse("mouseWheel", 300, 300, deltaX=0, deltaY=-300) or browser.settle(),
        lambda: browser.click(*place_of(browser, "◐")),
    ):
        act()
        pictures.append(stage(browser))
        assert (np.abs(pictures[-1] - pictures[-2]).sum(2) > 20).mean() > 0.002
    assert browser.problems == []


@in_browser
def test_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, scene_result())
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.id") == "stage"
    before = stage(browser)
    browser.press("ArrowLeft")
    assert (np.abs(stage(browser) - before).sum(2) > 20).mean() > 0.01
    browser.press("Enter")
    assert layer(browser) == "similarity"
    browser.press("?")
    assert browser.evaluate("document.getElementById('keys').open") is True
    browser.press("Escape")
    assert browser.evaluate("document.getElementById('keys').open") is False
    assert layer(browser) == "similarity"  # the key closed the list and nothing else


@in_browser
def test_names_are_text(browser: Browser, tmp_path: Path) -> None:
    names = (EVIL, "chair", "x' onclick='hacked=1")
    classes = LabelSet("evil", CLASSES.ids, names, CLASSES.colors)
    result = dataclasses.replace(scene_result(EVIL, classes), facts={EVIL: EVIL})
    shown(browser, tmp_path, result)
    browser.click(330, 320)
    browser.press("2")
    assert browser.evaluate("typeof hacked") == "undefined"
    assert browser.evaluate("document.title") == EVIL
    assert browser.evaluate("document.getElementById('name').textContent") == EVIL
    assert EVIL in browser.evaluate("document.getElementById('legend-rows').textContent")
    assert browser.evaluate("document.querySelectorAll('img, script').length") == 2
    assert browser.problems == []


@in_browser
@pytest.mark.parametrize(
    ("count", "wanted"), [(10000, "height"), (1, "height"), (0, "height")], ids=str
)
def test_bare_points(browser: Browser, tmp_path: Path, count: int, wanted: str) -> None:
    shown(browser, tmp_path, SceneResult("bare", scene_result().points[:count]))
    assert layer(browser) == wanted
    browser.click(330, 320)
    browser.press("1")
    assert browser.evaluate("document.getElementById('nothing').hidden") is (count > 0)
    assert browser.evaluate("document.getElementById('legend').hidden") is True
    assert (drawn_share(browser) > 0.1) == (count == 10000)
    assert browser.problems == []


@in_browser
def test_empty_scene_with_everything(browser: Browser, tmp_path: Path) -> None:
    whole = torch.zeros(0, dtype=torch.int64)
    result = SceneResult(
        "empty", torch.zeros(0, 3), torch.zeros(0, 3), CLASSES, whole, whole, whole, whole,
        torch.zeros(0, 8),
    )  # fmt: skip
    shown(browser, tmp_path, result)
    browser.press("4")
    assert layer(browser) == "errors"
    assert browser.problems == []


@in_browser
def test_large_scene_is_thinned(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, scene_result(), max_points=2000)
    assert browser.evaluate("document.getElementById('size').textContent") == (
        "2,000 of 10,000 points"
    )
    assert drawn_share(browser) > 0.1


def test_policy_admits_only_own_script() -> None:
    page = viewer_html(scene_result(EVIL))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    assert page.count("<script") == 2 and EVIL not in page


def test_page_has_no_reference_to_elsewhere() -> None:
    page = viewer_html(scene_result())
    assert not re.search(r"https?://|src=|@import|url\(|fetch\(|XMLHttp|import\(", page)


def test_positions_are_kept_to_half_a_step() -> None:
    points = torch.rand(1000, 3, dtype=torch.float64) * torch.tensor([20.0, 5.0, 0.0]) + 4e5
    steps, low, step = quantize_positions(points)
    found = steps.double() * step + low
    assert steps.dtype == torch.uint16
    assert bool(((found - points).abs() <= 0.5 * step + 1e-9).all())


def test_compressed_cosines() -> None:
    torch.manual_seed(0)
    features = torch.randn(500, 12) @ torch.randn(12, 96)  # of 12 dimensions in truth
    features[3] = 0
    small = compress_features(features, 16)
    assert small.dtype == torch.int8 and small.shape == (500, 16)
    assert small[3].abs().max() == 0
    cosine = torch.nn.functional.normalize
    wanted, got = (cosine(f.double(), dim=1) for f in (features, small))
    assert float((wanted @ wanted.T - got @ got.T).abs().max()) < 0.02


def test_compressed_features_of_few_channels() -> None:
    assert compress_features(torch.rand(7, 3), 32).shape == (7, 3)
    with pytest.raises(ValueError, match="at least 1"):
        compress_features(torch.rand(7, 3), 0)


def test_rows_are_a_sample_of_all() -> None:
    assert sorted(chosen_rows(50, 100).tolist()) == list(range(50))
    rows = chosen_rows(100_000, 1000)
    assert len(rows.unique()) == 1000 and abs(float(rows.double().mean()) - 50_000) < 3000


def test_refusals() -> None:
    result = scene_result()
    with pytest.raises(ValueError, match="max_points is 0"):
        viewer_html(result, max_points=0)
    with pytest.raises(ValueError, match="predicted_instances hold"):
        viewer_html(dataclasses.replace(result, predicted_instances=result.labels + 2**31))
    for change, message in (
        ({"labels": result.labels[:5]}, "labels are torch.int64"),
        ({"prediction": result.labels + 1}, "hold class 3"),
        ({"features": result.features * torch.nan}, "features are not all finite"),
        ({"scores": torch.zeros(5)}, "one a predicted box"),
        ({"label_set": None}, "without a label_set"),
        ({"colors": result.colors[:, :2][:7]}, "colors are"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(result, **change)
