// Mouse, touch and wheel on the stage: one pointer orbits, two or the right button pan, the wheel
// and two fingers zoom, a short press without movement chooses.

const STILL = 5; // pixels that a click may move

function listenToPointers(stage, orbit, { moved, chose, centred }) {
  const pointers = new Map();
  let travelled = 0;

  const middle = () => {
    const all = [...pointers.values()];
    const at = (key) => all.reduce((sum, p) => sum + p[key], 0) / all.length;
    const spread = all.length < 2 ? 0 : Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y);
    return { x: at("x"), y: at("y"), spread };
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, a, input")) return;
    stage.setPointerCapture(event.pointerId);
    if (!pointers.size) travelled = 0;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size > 1) travelled = Infinity;
  });

  stage.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    if (!pointer) return;
    const before = middle();
    travelled += Math.hypot(event.clientX - pointer.x, event.clientY - pointer.y);
    pointer.x = event.clientX;
    pointer.y = event.clientY;
    if (travelled < STILL) return;
    const after = middle(), right = after.x - before.x, down = after.y - before.y;
    if (pointers.size > 1) {
      orbit.pan(right, down);
      if (before.spread > 0 && after.spread > 0) orbit.zoom(before.spread / after.spread);
    } else if (event.buttons & 6 || event.shiftKey) {
      orbit.pan(right, down);
    } else {
      orbit.turn(-right * 0.006, down * 0.006);
    }
    moved();
  });

  const release = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (event.type === "pointerup" && event.button === 0 && !pointers.size && travelled < STILL) {
      chose(event.clientX, event.clientY);
    }
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener("dblclick", (event) => centred(event.clientX, event.clientY));
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 18 : 1);
    orbit.zoom(Math.exp(clamp(pixels, -240, 240) * 0.0015));
    moved();
  }, { passive: false });
}

// What the keys do while the stage has the focus; returns whether the key was one of these.
function moveByKey(orbit, event) {
  const side = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const arrow = side[event.key];
  if (arrow && event.shiftKey) orbit.pan(-40 * arrow[0], -40 * arrow[1]);
  else if (arrow) orbit.turn(0.1 * arrow[0], -0.08 * arrow[1]);
  else if (event.key === "+" || event.key === "=") orbit.zoom(0.85);
  else if (event.key === "-") orbit.zoom(1 / 0.85);
  else return false;
  return true;
}
