// The panel beside the stage. Text is set through textContent, never as HTML.

const $ = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const percent = (share) => (share >= 0.0995 ? `${Math.round(100 * share)}%`
  : share < 0.001 ? "<0.1%" : `${(100 * share).toFixed(1)}%`);

function describeScene(scene) {
  $("name").textContent = scene.name;
  const points = scene.count.toLocaleString("en");
  $("size").textContent = scene.total > scene.count
    ? `${points} of ${scene.total.toLocaleString("en")} points` : `${points} points`;
  for (const [name, value] of Object.entries(scene.facts)) {
    $("facts").append(element("div", {},
      element("dt", { textContent: name }), element("dd", { textContent: value })));
  }
}

// Radio buttons: arrow keys move among them without any code of ours.
function listLayers(layers, choose) {
  layers.forEach((layer, i) => {
    const input = element("input", { type: "radio", name: "layer", value: layer.id });
    input.addEventListener("change", () => choose(layer.id));
    const key = i < 9 ? [element("kbd", { textContent: i + 1 })] : [];
    $("layers").append(element("label", { className: "layer" },
      input, element("span", { textContent: layer.name }), ...key));
  });
}

function showLayer(id) {
  const input = [...document.querySelectorAll('input[name="layer"]')].find((i) => i.value === id);
  if (input) input.checked = true;
}

// Swatches that switch their class off and on; with Shift, all others.
function showLegend(rows, hidden, change) {
  const list = $("legend-rows");
  const focused = [...list.children].indexOf(document.activeElement?.closest("li"));
  list.replaceChildren(...rows.map((row) => {
    const button = element("button", { type: "button", className: "class" },
      swatch(row.color), element("span", { className: "what", textContent: row.name }),
      element("span", { className: "share", textContent: percent(row.share) }));
    button.setAttribute("aria-pressed", String(!hidden.has(row.group)));
    button.addEventListener("click", (event) => {
      if (event.shiftKey) {
        const alone = rows.every((r) => hidden.has(r.group) === (r.group !== row.group));
        hidden.clear();
        if (!alone) for (const r of rows) if (r.group !== row.group) hidden.add(r.group);
      } else if (!hidden.delete(row.group)) {
        hidden.add(row.group);
      }
      change();
    });
    return element("li", {}, button);
  }));
  if (focused >= 0) list.children[focused]?.firstChild.focus();
  $("legend").hidden = !rows.length;
  $("all").disabled = !hidden.size;
}

function swatch(color) {
  const made = element("i", { className: "swatch" });
  made.style.background = cssColor(color);
  return made;
}

function showHeat(scene, layer, similarity) {
  const heat = layer?.kind === "similarity";
  $("heat").hidden = !heat;
  if (!heat) return;
  $("heat-scale").hidden = !similarity;
  $("heat-hint").hidden = !!similarity;
  if (!similarity) return;
  const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((i) => cssColor(scene.heat.subarray(3 * i)));
  $("heat-bar").style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  $("heat-low").textContent = similarity.low.toFixed(2);
  $("heat-high").textContent = similarity.high.toFixed(2);
}

// What is known of the chosen point; rows of [name, value, colour or null].
function showPoint(scene, chosen, similarity) {
  $("point").hidden = chosen < 0;
  if (chosen < 0) return;
  const rows = [];
  const named = (title, values, none) => {
    const group = values[chosen], known = group >= 0 ? scene.classes[group] : null;
    rows.push([title, known ? known.name : none, known?.color]);
  };
  if (scene.labels) named("Label", scene.labels, "none");
  if (scene.prediction) named("Prediction", scene.prediction, "none");
  for (const [title, values] of [["Object", scene.instances], ["Predicted object", scene.predicted_instances]]) {
    if (values) rows.push([title, values[chosen] < 0 ? "none" : String(values[chosen]), instanceColor(values[chosen])]);
  }
  const place = placeOf(scene, chosen).map((x) => x.toFixed(3).replace("-", "\u2212"));
  rows.push(["Place (m)", place.join("  "), null]);
  if (similarity && similarity.query !== chosen) {
    rows.push(["Similarity", similarity.values[chosen].toFixed(3), null]);
  }
  $("point-rows").replaceChildren(...rows.flatMap(([title, value, color]) => [
    element("dt", { textContent: title }),
    element("dd", {}, ...(color ? [swatch(color)] : []), element("span", { textContent: value })),
  ]));
  const wrong = scene.labels && scene.prediction && scene.labels[chosen] >= 0
    && scene.labels[chosen] !== scene.prediction[chosen];
  $("point").classList.toggle("wrong", !!wrong);
}
