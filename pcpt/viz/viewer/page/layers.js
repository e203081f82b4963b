// What colours the points: each layer fills four bytes a point, alpha 0 for those not shown.

const NOTHING = { dark: [70, 74, 84], light: [196, 201, 209] }; // no label
const RIGHT = [112, 126, 146];
const WRONG = [240, 68, 56];

function layersOf(scene) {
  const layers = [];
  const add = (id, name, kind, source) => layers.push({ id, name, kind, source });
  if (scene.colors) add("colour", "Colour", "rgb", scene.colors);
  if (scene.labels) add("labels", "Labels", "class", scene.labels);
  if (scene.prediction) add("prediction", "Prediction", "class", scene.prediction);
  if (scene.labels && scene.prediction) add("errors", "Errors", "error");
  if (scene.instances) add("instances", "Objects", "instance", scene.instances);
  if (scene.predicted_instances) {
    add("predicted_instances", "Predicted objects", "instance", scene.predicted_instances);
  }
  if (scene.pca) add("features", "Features (PCA)", "rgb", scene.pca);
  if (scene.features) add("similarity", "Similarity", "similarity");
  if (!scene.colors) add("height", "Height", "height");
  return layers;
}

// The class, or place in a fixed legend, that a point counts under in a layer; -1 is none.
function groupsOf(scene, layer) {
  if (layer.kind === "class") return layer.source;
  if (layer.kind !== "error") return null;
  const { labels, prediction } = scene;
  return (layer.groups ??= Int16Array.from(labels, (l, i) => (l < 0 ? -1 : +(l !== prediction[i]))));
}

// Rows of the legend: { group, name, color, share } by number of points.
function legendOf(scene, layer, theme) {
  const groups = groupsOf(scene, layer);
  if (!groups) return [];
  const named = layer.kind === "class" ? scene.classes
    : [{ name: "right", color: RIGHT }, { name: "wrong", color: WRONG }];
  const counts = new Map();
  for (const group of groups) counts.set(group, (counts.get(group) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([group, count]) => ({
    group, share: count / scene.count,
    name: group < 0 ? (layer.id === "prediction" ? "no prediction" : "no label") : named[group].name,
    color: group < 0 ? NOTHING[theme] : named[group].color,
  }));
}

function instanceColor(number) {
  if (number < 0) return null;
  const hue = (0.07 + number * ((Math.sqrt(5) - 1) / 2)) % 1;
  const light = [0.55, 0.68, 0.45][number % 3], chroma = (1 - Math.abs(2 * light - 1)) * 0.75;
  return [0, 8, 4].map((turn) => {
    const k = (turn + hue * 12) % 12;
    return Math.round(255 * (light - (chroma / 2) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

// Fills `rgba`; `hidden` holds the groups of the layer that are switched off.
function paint(scene, layer, rgba, { theme, hidden, similarity }) {
  rgba.fill(255);
  const none = NOTHING[theme], count = scene.count;
  if (layer.kind === "rgb") {
    for (let i = 0, k = 0; i < count; i++, k += 3) rgba.set(layer.source.subarray(k, k + 3), 4 * i);
  } else if (layer.kind === "instance") {
    const known = new Map([[-1, none]]);
    for (let i = 0; i < count; i++) {
      const number = layer.source[i];
      if (!known.has(number)) known.set(number, instanceColor(number));
      rgba.set(known.get(number), 4 * i);
    }
  } else if (layer.kind === "similarity") {
    paintHeat(scene, rgba, similarity);
  } else if (layer.kind === "height") {
    const { floor, top } = scene.height, span = top - floor || 1;
    for (let i = 0; i < count; i++) rgba.set(heatAt(scene, (heightOf(scene, i) - floor) / span), 4 * i);
  } else {
    paintGroups(scene, layer, rgba, theme, hidden);
  }
}

function paintGroups(scene, layer, rgba, theme, hidden) {
  const groups = groupsOf(scene, layer);
  const colors = new Map(legendOf(scene, layer, theme).map((row) => [row.group, row.color]));
  for (let i = 0; i < scene.count; i++) {
    rgba.set(colors.get(groups[i]), 4 * i);
    if (hidden.has(groups[i])) rgba[4 * i + 3] = 0;
  }
}

function heatAt(scene, share) {
  const place = 3 * Math.round(255 * clamp(share, 0, 1));
  return scene.heat.subarray(place, place + 3);
}

// Three quarters heat over the grey of the points' own colours, so that the scene stays readable.
function paintHeat(scene, rgba, similarity) {
  const colors = scene.colors, weights = [0.299, 0.587, 0.114];
  for (let i = 0, k = 0; i < scene.count; i++, k += 3) {
    const grey = colors
      ? weights[0] * colors[k] + weights[1] * colors[k + 1] + weights[2] * colors[k + 2] : 150;
    if (!similarity) {
      rgba.fill(0.75 * grey + 20, 4 * i, 4 * i + 3);
      continue;
    }
    const share = (similarity.values[i] - similarity.low) / (similarity.high - similarity.low);
    const heat = heatAt(scene, share);
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = 0.78 * heat[c] + 0.22 * grey;
  }
}

// Cosine of every point's feature with that of one, and the range that colours span: from the
// 5% quantile to 1.
function similarityTo(scene, query) {
  const { features, norms, dims, count } = scene;
  const own = features.subarray(query * dims, (query + 1) * dims);
  const values = new Float32Array(count);
  for (let i = 0, k = 0; i < count; i++) {
    let sum = 0;
    for (let c = 0; c < dims; c++, k++) sum += own[c] * features[k];
    values[i] = sum / (norms[i] * norms[query] || 1);
  }
  const every = Math.max(1, Math.floor(count / 20000)), sample = [];
  for (let i = 0; i < count; i += every) sample.push(values[i]);
  sample.sort((a, b) => a - b);
  const at = (share) => sample[Math.floor(share * (sample.length - 1))];
  const low = at(0.05);
  return { query, values, low, high: Math.max(at(0.995), low + 1e-3) };
}
