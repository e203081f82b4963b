// Puts the page together: state, what changes it, and when to draw.

const scene = decodeScene(JSON.parse($("data").textContent));
const stage = $("stage");
const orbit = new Orbit(scene);
const layers = layersOf(scene);
const overlay = new Overlay($("overlay"), scene);
const dark = matchMedia("(prefers-color-scheme: dark)");
const HAS = {
  true: scene.boxes.some((b) => b.truth), predicted: scene.boxes.some((b) => !b.truth),
  scores: scene.boxes.some((b) => b.score !== null),
};
const CEILING = 2.2; // metres above the floor from which points are hidden at first

const state = {
  rgba: new Uint8Array(4 * scene.count),
  layer: null, before: null, hidden: new Set(), similarity: null, chosen: -1, aiming: false,
  size: scene.spacing, cut: Infinity, ground: [0, 0, 0], theme: "dark",
  trueBoxes: HAS.true && !HAS.predicted, predictedBoxes: HAS.predicted, boxNames: false, minScore: scene.min_score,
};
let renderer = makeRenderer(stage, scene, location.hash.slice(1));
let waiting = 0, settling = 0;

function redraw(quick = false) {
  clearTimeout(settling);
  if (quick) settling = setTimeout(() => redraw(), 180);
  if (waiting) return;
  waiting = requestAnimationFrame(() => {
    waiting = 0;
    const view = orbit.view();
    renderer.draw(view, state, quick);
    overlay.draw(view, state);
  });
}

function repaint() {
  if (!state.layer) return;
  paint(scene, state.layer, state.rgba, state);
  renderer.colors(state.rgba);
  redraw();
}

function refreshPanel() {
  showLegend(state.layer ? legendOf(scene, state.layer, state.theme) : [], state.hidden, () => {
    refreshPanel();
    repaint();
  });
  showHeat(scene, state.layer, state.similarity);
  showPoint(scene, state.chosen, state.layer?.kind === "similarity" ? state.similarity : null);
}

function chooseLayer(id) {
  const layer = layers.find((one) => one.id === id);
  if (!layer) return;
  const sameClasses = layer.kind === "class" && state.layer?.kind === "class";
  if (!sameClasses && layer !== state.layer) state.hidden.clear();
  if (state.layer && state.layer.kind !== "similarity") state.before = state.layer;
  state.layer = layer;
  document.documentElement.dataset.layer = id;
  showLayer(id);
  refreshPanel();
  repaint();
}

function choosePoint(index) {
  state.chosen = index;
  if (index >= 0 && scene.features && $("query").checked) {
    state.similarity = similarityTo(scene, index);
    chooseLayer("similarity");
  } else {
    refreshPanel();
    redraw();
  }
  $("hint").classList.add("used");
}

function pointAt(x, y) {
  const area = stage.getBoundingClientRect();
  return pick(scene, orbit.view(), x - area.left, y - area.top, state, 10);
}

function leavePoint() {
  const back = state.layer?.kind === "similarity" && state.similarity ? state.before : null;
  state.chosen = -1;
  state.similarity = null;
  if (back) return chooseLayer(back.id);
  refreshPanel();
  repaint();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = state.theme = theme;
  const ground = getComputedStyle(stage).backgroundColor.match(/\d+/g);
  state.ground = ground.slice(0, 3).map(Number);
  refreshPanel();
  repaint();
}

function resize() {
  const area = stage.getBoundingClientRect(), ratio = Math.min(devicePixelRatio || 1, 2);
  [orbit.width, orbit.height] = [Math.max(1, area.width), Math.max(1, area.height)];
  for (const canvas of [renderer.canvas, overlay.canvas]) {
    canvas.width = Math.max(1, Math.round(area.width * ratio));
    canvas.height = Math.max(1, Math.round(area.height * ratio));
  }
  redraw();
}

// A slider and the text beside it.
function slider(id, value, show, change) {
  const input = $(id), update = () => {
    $(`${id}-value`).textContent = show(+input.value);
    change(+input.value);
  };
  input.value = value;
  input.addEventListener("input", () => { update(); redraw(); });
  update();
}

function setUpDisplay() {
  slider("point-size", 1, (x) => `${x.toFixed(1)}\u00d7`, (x) => { state.size = x * scene.spacing; });
  const { floor, top } = scene.height, cut = $("cut");
  cut.max = Math.max(0.1, Math.ceil((top - floor) * 20) / 20);
  slider("cut", Math.min(CEILING, cut.max), (x) => (x >= +cut.max ? "off" : `${x.toFixed(2)} m`),
    (x) => { state.cut = x >= +cut.max ? Infinity : floor + x; });
  $("reset").addEventListener("click", () => { orbit.reset(); redraw(); });
  $("above").addEventListener("click", () => { orbit.fromAbove(); redraw(); });
  $("theme").addEventListener("click", () => setTheme(state.theme === "dark" ? "light" : "dark"));
  $("all").addEventListener("click", () => { state.hidden.clear(); refreshPanel(); repaint(); });
  $("help").addEventListener("click", () => $("keys").showModal());
  $("leave").addEventListener("click", leavePoint);
  $("similar").hidden = !scene.features;
  $("fold").addEventListener("click", () => {
    const folded = document.body.classList.toggle("folded");
    $("fold").setAttribute("aria-expanded", String(!folded));
  });
}

function setUpBoxes() {
  $("boxes").hidden = !scene.boxes.length;
  for (const [id, key, there] of [["true-boxes", "trueBoxes", HAS.true],
    ["predicted-boxes", "predictedBoxes", HAS.predicted], ["box-names", "boxNames", true]]) {
    const input = $(id);
    input.checked = state[key];
    input.closest("label").hidden = !there;
    input.addEventListener("change", () => { state[key] = input.checked; redraw(); });
  }
  $("scores").hidden = !HAS.scores;
  slider("min-score", scene.min_score, (x) => x.toFixed(2), (x) => { state.minScore = x; });
}

function toggleBoxes() {
  const show = !(state.trueBoxes || state.predictedBoxes);
  for (const id of ["true-boxes", "predicted-boxes"]) {
    if ($(id).checked !== show) $(id).click();
  }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const onStage = document.activeElement === stage;
  if (onStage && moveByKey(orbit, event)) {
    event.preventDefault();
    return redraw(true);
  }
  if (onStage && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    return choosePoint(pick(scene, orbit.view(), orbit.width / 2, orbit.height / 2, state, 40));
  }
  if (event.key === "Escape") return leavePoint();
  const size = $("point-size"), sized = (step) => {
    size.value = +size.value + step;
    size.dispatchEvent(new Event("input"));
  };
  const actions = {
    r: () => $("reset").click(), t: () => $("above").click(), b: toggleBoxes,
    "[": () => sized(-0.2), "]": () => sized(0.2), "?": () => $("keys").showModal(),
  };
  if (/^[1-9]$/.test(event.key)) chooseLayer(layers[event.key - 1]?.id);
  else actions[event.key]?.();
}

function start() {
  describeScene(scene);
  listLayers(layers, chooseLayer);
  setUpDisplay();
  setUpBoxes();
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  listenToPointers(stage, orbit, {
    moved: () => redraw(true),
    chose: (x, y) => choosePoint(pointAt(x, y)),
    centred: (x, y) => {
      const index = pointAt(x, y);
      if (index >= 0) orbit.target = placeOf(scene, index);
      redraw();
    },
  });
  document.addEventListener("keydown", onKey);
  const aim = () => {
    state.aiming = stage.matches(":focus-visible");
    redraw();
  };
  stage.addEventListener("focus", aim);
  stage.addEventListener("blur", aim);
  new ResizeObserver(resize).observe(stage);
  // a canvas that has lost its graphics card is replaced by one that needs none
  stage.addEventListener("webglcontextlost", () => {
    renderer = makeRenderer(stage, scene, "2d");
    resize();
    repaint();
  }, true);
  $("nothing").hidden = scene.count > 0;
  const wanted = scene.prediction ? "prediction" : scene.labels ? "labels" : "";
  resize();
  if (layers.length) chooseLayer((layers.find((l) => l.id === wanted) ?? layers[0]).id);
  document.documentElement.dataset.renderer = renderer.name;
  requestAnimationFrame(() => requestAnimationFrame(() => {
    document.documentElement.dataset.ready = "yes";
  }));
}

start();
