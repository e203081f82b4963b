// Draws the cloud without WebGL: a depth buffer of its own, into the pixels of a 2D canvas.

const QUICK_POINTS = 40000; // drawn while something moves; rows are in random order

class PlainRenderer {
  constructor(canvas, scene) {
    Object.assign(this, { canvas, scene, name: "2d", context: canvas.getContext("2d") });
    this.rgba = new Uint8Array(4 * scene.count);
  }

  colors(rgba) {
    this.rgba = rgba;
  }

  draw(view, state, quick) {
    const { width, height } = this.canvas;
    if (!width || !height) return;
    if (this.image?.width !== width || this.image?.height !== height) {
      this.image = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.depth = new Float32Array(width * height);
    }
    const [red, green, blue] = state.ground;
    this.pixels.fill((0xff000000 | (blue << 16) | (green << 8) | red) >>> 0);
    this.depth.fill(Infinity);
    this.drawPoints(view, state, quick ? Math.min(QUICK_POINTS, this.scene.count) : this.scene.count);
    if (!quick) this.light();
    this.context.putImageData(this.image, 0, 0);
  }

  drawPoints(view, state, count) {
    const { scene, rgba, depth, pixels } = this, { width, height } = this.canvas;
    const ratio = width / view.width, focal = view.focal * ratio, p = scene.positions;
    const { right, down, forward, x, y, z } = projector(view, scene);
    // fewer points, larger discs
    const size = 0.5 * state.size * focal * Math.min(2, Math.sqrt(scene.count / (count || 1)));
    for (let i = 0, k = 0; i < count; i++, k += 3) {
      if (!rgba[4 * i + 3]) continue;
      const a = p[k], b = p[k + 1], c = p[k + 2];
      const far = z + forward[0] * a + forward[1] * b + forward[2] * c;
      if (far < view.near || heightOf(scene, i) > state.cut) continue;
      const u = width / 2 + (focal * (x + right[0] * a + right[1] * b + right[2] * c)) / far;
      const v = height / 2 + (focal * (y + down[0] * a + down[1] * b + down[2] * c)) / far;
      const radius = Math.min(size / far, 16);
      const left = Math.max(0, Math.round(u - radius)), top = Math.max(0, Math.round(v - radius));
      const end = Math.min(width - 1, Math.max(left, Math.round(u + radius) - 1));
      const bottom = Math.min(height - 1, Math.max(top, Math.round(v + radius) - 1));
      if (u + radius < 0 || v + radius < 0) continue;
      const tint = (0xff000000 | (rgba[4 * i + 2] << 16) | (rgba[4 * i + 1] << 8) | rgba[4 * i]) >>> 0;
      for (let row = top; row <= bottom; row++) {
        for (let at = row * width + left, last = row * width + end; at <= last; at++) {
          if (far < depth[at]) { depth[at] = far; pixels[at] = tint; }
        }
      }
    }
  }

  // Darkens what lies behind an edge, as the shader does, with four neighbours.
  light() {
    const { width, height } = this.canvas, { depth, image } = this, data = image.data;
    const steps = [1, -1, width, -width];
    for (let row = 1; row < height - 1; row++) {
      for (let at = row * width + 1, last = (row + 1) * width - 1; at < last; at++) {
        const own = depth[at];
        if (own === Infinity) continue;
        let hidden = 0;
        for (const step of steps) hidden += clamp(1 - depth[at + step] / own - 0.01, 0, 0.25);
        if (hidden === 0) continue;
        const light = Math.exp(-1.6 * hidden);
        for (let c = 0; c < 3; c++) data[4 * at + c] *= light;
      }
    }
  }
}

// The best that this browser can do; `wanted` "2d" leaves WebGL alone.
function makeRenderer(stage, scene, wanted) {
  const fresh = () => {
    const canvas = document.createElement("canvas");
    canvas.className = "cloud";
    stage.querySelector("canvas.cloud")?.remove();
    stage.prepend(canvas);
    return canvas;
  };
  if (wanted !== "2d") {
    try {
      return new GlRenderer(fresh(), scene);
    } catch (error) {
      console.info(`drawing without WebGL: ${error.message}`);
    }
  }
  return new PlainRenderer(fresh(), scene);
}
