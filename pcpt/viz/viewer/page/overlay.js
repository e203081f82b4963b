// Lines and text over the cloud: boxes, the chosen point, the aim of the keyboard.

// Corner i of a box is at its low or high end of x, y, z by the bits 1, 2, 4 of i.
const EDGES = [];
for (let i = 0; i < 8; i++) for (const bit of [1, 2, 4]) if (!(i & bit)) EDGES.push([i, i | bit]);

class Overlay {
  constructor(canvas, scene) {
    Object.assign(this, { canvas, scene, context: canvas.getContext("2d") });
  }

  shownBoxes(state) {
    return this.scene.boxes.filter((box) => (box.truth ? state.trueBoxes : state.predictedBoxes)
      && (box.score === null || box.score >= state.minScore)
      && !(state.layer?.kind === "class" && state.hidden.has(box.group)));
  }

  draw(view, state) {
    const { context, canvas } = this, ratio = canvas.width / view.width;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.lineJoin = "round";
    const boxes = this.shownBoxes(state);
    for (const rim of [true, false]) for (const box of boxes) this.box(view, box, rim);
    if (state.boxNames) this.names(view, boxes);
    if (state.chosen >= 0) this.marker(project(view, placeOf(this.scene, state.chosen)));
    if (state.aiming) this.aim(view);
  }

  box(view, box, rim) {
    const { context } = this;
    context.beginPath();
    for (const [a, b] of EDGES) {
      const ends = clipped(view, box.corners[a], box.corners[b]);
      if (!ends) continue;
      context.moveTo(...project(view, ends[0]));
      context.lineTo(...project(view, ends[1]));
    }
    context.setLineDash(box.truth ? [5, 4] : []);
    context.lineWidth = rim ? 3.5 : 1.75;
    context.strokeStyle = rim ? "rgba(10, 12, 16, .5)" : cssColor(box.color);
    context.stroke();
    context.setLineDash([]);
  }

  // At the middle of the top, on a pill of the box's colour; nearest boxes first, and a name that
  // would hide another is left out.
  names(view, boxes) {
    const { context } = this;
    context.font = "600 11px system-ui, sans-serif";
    context.textBaseline = "middle";
    const tops = boxes.map((box) => {
      const middle = scaled(box.corners.reduce(plus, [0, 0, 0]), 1 / 8);
      const heights = box.corners.map((corner) => dot(corner, this.scene.up));
      const rise = Math.max(...heights) - dot(middle, this.scene.up);
      return { box, place: project(view, plus(middle, scaled(this.scene.up, rise))) };
    });
    tops.sort((a, b) => a.place[2] - b.place[2]);
    const taken = [];
    for (const { box, place } of tops) {
      if (place[2] < view.near) continue;
      const score = box.score === null ? "" : ` ${box.score.toFixed(2)}`;
      const text = box.name + score, width = context.measureText(text).width + 10;
      const left = place[0] - width / 2, top = place[1] - 9;
      if (taken.some((t) => left < t.left + t.width + 2 && t.left < left + width + 2
        && Math.abs(top - t.top) < 19)) continue;
      taken.push({ left, top, width });
      context.fillStyle = cssColor(box.color);
      context.beginPath();
      context.roundRect(left, top, width, 17, 5);
      context.fill();
      const [red, green, blue] = box.color;
      context.fillStyle = 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#11141a" : "#fff";
      context.fillText(text, left + 5, top + 9);
    }
  }

  marker([u, v, z]) {
    if (z <= 0) return;
    this.ring(u, v, 7);
  }

  ring(u, v, radius) {
    const { context } = this;
    for (const [width, color] of [[5, "rgba(10, 12, 16, .75)"], [2.5, "#fff"]]) {
      context.lineWidth = width;
      context.strokeStyle = color;
      context.beginPath();
      context.arc(u, v, radius, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // Where Enter picks: the middle of the stage.
  aim(view) {
    const { context } = this, u = view.width / 2, v = view.height / 2;
    for (const [width, color] of [[4, "rgba(10, 12, 16, .7)"], [1.5, "#fff"]]) {
      context.lineWidth = width;
      context.strokeStyle = color;
      context.beginPath();
      for (const [du, dv] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(u + 5 * du, v + 5 * dv);
        context.lineTo(u + 12 * du, v + 12 * dv);
      }
      context.stroke();
    }
  }
}

const cssColor = ([red, green, blue]) => `rgb(${red}, ${green}, ${blue})`;

// The part of a segment before the camera, or null.
function clipped(view, a, b) {
  const depth = (p) => dot(plus(p, scaled(view.eye, -1)), view.forward) - view.near;
  const near = depth(a), far = depth(b);
  if (near < 0 && far < 0) return null;
  if (near >= 0 && far >= 0) return [a, b];
  const share = near / (near - far);
  const cut = a.map((x, i) => x + share * (b[i] - x));
  return near < 0 ? [cut, b] : [a, cut];
}
