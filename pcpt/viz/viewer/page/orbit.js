// The camera: it orbits around a target, with "up" always up.

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0],
];
const scaled = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const plus = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const unit = (a) => scaled(a, 1 / (Math.hypot(...a) || 1));
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

const FIELD = Math.PI / 4; // of view, over the shorter side
const STEEPEST = Math.PI / 2 - 0.001; // straight down, with a heading left

class Orbit {
  constructor(scene) {
    this.up = unit(scene.up);
    const side = Math.abs(this.up[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0];
    this.east = unit(cross(cross(this.up, side), this.up));
    this.north = cross(this.up, this.east);
    this.home = scene.focus;
    this.width = this.height = 1;
    this.reset();
  }

  reset() {
    this.target = [...this.home.center];
    this.azimuth = -0.9;
    this.elevation = 0.75;
    this.fit();
  }

  fromAbove() {
    this.target = [...this.home.center];
    this.azimuth = -Math.PI / 2;
    this.elevation = STEEPEST;
    this.fit();
  }

  fit() {
    this.distance = (0.86 * this.home.radius) / Math.tan(FIELD / 2);
  }

  turn(azimuth, elevation) {
    this.azimuth += azimuth;
    this.elevation = clamp(this.elevation + elevation, -STEEPEST, STEEPEST);
  }

  zoom(factor) {
    const radius = this.home.radius;
    this.distance = clamp(this.distance * factor, 0.01 * radius, 20 * radius);
  }

  // By pixels of the page.
  pan(right, down) {
    const view = this.view(), metres = this.distance / view.focal;
    this.target = plus(this.target, plus(
      scaled(view.right, -right * metres), scaled(view.down, -down * metres)));
  }

  // Axes of the camera (x right, y down, z forward), its place, and its lens for the stage's size.
  view() {
    const level = plus(
      scaled(this.east, Math.cos(this.azimuth)), scaled(this.north, Math.sin(this.azimuth)));
    const back = plus(
      scaled(level, Math.cos(this.elevation)), scaled(this.up, Math.sin(this.elevation)));
    const forward = scaled(back, -1);
    const right = unit(cross(forward, this.up));
    return {
      eye: plus(this.target, scaled(back, this.distance)),
      right, down: cross(forward, right), forward,
      focal: Math.min(this.width, this.height) / (2 * Math.tan(FIELD / 2)),
      width: this.width, height: this.height,
      near: 0.02 * this.distance, far: this.distance + 4 * this.home.radius,
    };
  }
}

// Pixel and depth of a place; depth is not positive behind the camera.
function project(view, place) {
  const from = [place[0] - view.eye[0], place[1] - view.eye[1], place[2] - view.eye[2]];
  const z = dot(from, view.forward);
  return [
    view.width / 2 + (view.focal * dot(from, view.right)) / z,
    view.height / 2 + (view.focal * dot(from, view.down)) / z,
    z,
  ];
}

// For every point at once: camera axes over whole steps of the stored positions.
function projector(view, scene) {
  const axis = (v) => [v[0] * scene.step[0], v[1] * scene.step[1], v[2] * scene.step[2]];
  const from = plus(scene.low, scaled(view.eye, -1));
  return {
    right: axis(view.right), down: axis(view.down), forward: axis(view.forward),
    x: dot(from, view.right), y: dot(from, view.down), z: dot(from, view.forward),
  };
}

// The point seen at a pixel: of those whose disc covers it the nearest to the camera, else the one
// whose centre is within `reach` pixels and closest. -1 where there is none.
function pick(scene, view, u, v, state, reach) {
  const p = scene.positions, { right, down, forward, x, y, z } = projector(view, scene);
  const rgba = state.rgba, size = state.size * 0.5 * view.focal, cut = state.cut;
  let covering = -1, nearest = Infinity, close = -1, least = reach * reach;
  for (let i = 0, k = 0; i < scene.count; i++, k += 3) {
    if (!rgba[4 * i + 3]) continue;
    const a = p[k], b = p[k + 1], c = p[k + 2];
    const depth = z + forward[0] * a + forward[1] * b + forward[2] * c;
    if (depth < view.near) continue;
    const du = view.width / 2 + (view.focal * (x + right[0] * a + right[1] * b + right[2] * c))
      / depth - u;
    const dv = view.height / 2 + (view.focal * (y + down[0] * a + down[1] * b + down[2] * c))
      / depth - v;
    const away = du * du + dv * dv, radius = Math.max(1, size / depth);
    if (away > radius * radius && away >= least) continue;
    if (heightOf(scene, i) > cut) continue;
    if (away <= radius * radius && depth < nearest) { covering = i; nearest = depth; }
    if (away < least) { close = i; least = away; }
  }
  return covering >= 0 ? covering : close;
}
