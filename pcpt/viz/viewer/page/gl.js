// Draws the cloud with WebGL 2: round points into a texture, then light from its depth (Boucheny's
// eye-dome lighting, as in the pictures that Python renders).

const POINT_SHADER = `#version 300 es
uniform vec3 low, extent, eye, right, down, forward, up;
uniform vec4 lens; // focal length over half width and half height; depth scale and offset
uniform float size, cut;
uniform float largest;
in vec3 position;
in vec4 tint;
out vec3 color;
void main() {
  vec3 place = low + position * extent - eye;
  float z = dot(place, forward);
  color = tint.rgb;
  gl_Position = vec4(lens.x * dot(place, right), -lens.y * dot(place, down), lens.z * z + lens.w, z);
  gl_PointSize = clamp(size / z, 1.0, largest);
  if (tint.a < 0.5 || dot(low + position * extent, up) > cut) gl_Position = vec4(2, 2, 2, 1);
}`;

const DISC_SHADER = `#version 300 es
precision mediump float;
in vec3 color;
out vec4 pixel;
void main() {
  vec2 place = gl_PointCoord - 0.5;
  if (dot(place, place) > 0.27) discard;
  pixel = vec4(color, 1);
}`;

const SCREEN_SHADER = `#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1);
}`;

const LIGHT_SHADER = `#version 300 es
precision highp float;
uniform highp sampler2D depths;
uniform sampler2D colors;
uniform vec2 planes;
uniform vec3 ground;
uniform int fine, reach;
out vec4 pixel;
float depthAt(ivec2 place) {
  float stored = texelFetch(depths, clamp(place, ivec2(0), textureSize(depths, 0) - 1), 0).r;
  float ratio = planes.y / planes.x;
  return stored == 1.0 ? 1e9 : log(planes.y / (stored + (1.0 - stored) * ratio));
}
vec3 lit(ivec2 place) {
  vec4 own = texelFetch(colors, place, 0);
  if (own.a == 0.0) return ground;
  float depth = depthAt(place), hidden = 0.0;
  for (int ring = 1; ring <= 2; ring++)
    for (int v = -1; v <= 1; v++)
      for (int u = -1; u <= 1; u++)
        hidden += clamp(depth - depthAt(place + ivec2(u, v) * ring * reach) - 0.01, 0.0, 0.25);
  return own.rgb * exp(-0.7 * hidden);
}
void main() {
  ivec2 corner = ivec2(gl_FragCoord.xy) * fine;
  vec3 sum = vec3(0);
  for (int v = 0; v < fine; v++)
    for (int u = 0; u < fine; u++) sum += lit(corner + ivec2(u, v));
  pixel = vec4(sum / float(fine * fine), 1);
}`;

const MOST_PIXELS = 1.2e7; // of the finer picture

class GlRenderer {
  // Throws where WebGL 2 is missing.
  constructor(canvas, scene) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    if (!gl) throw new Error("no WebGL 2");
    Object.assign(this, { gl, canvas, scene, name: "webgl2" });
    this.points = this.program(POINT_SHADER, DISC_SHADER);
    this.light = this.program(SCREEN_SHADER, LIGHT_SHADER);
    this.empty = gl.createVertexArray();
    this.cloud = gl.createVertexArray();
    gl.bindVertexArray(this.cloud);
    this.attribute("position", scene.positions, 3, gl.UNSIGNED_SHORT, gl.STATIC_DRAW);
    this.tints = this.attribute("tint", new Uint8Array(4 * scene.count), 4, gl.UNSIGNED_BYTE,
      gl.DYNAMIC_DRAW);
    this.targets = {};
    this.largest = gl.getParameter(gl.ALIASED_POINT_SIZE_RANGE)[1];
  }

  program(vertex, fragment) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "position");
    gl.bindAttribLocation(program, 1, "tint");
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      throw new Error(`shaders: ${gl.getProgramInfoLog(program)}`);
    }
    return { program, at: new Proxy({}, {
      get: (known, name) => (known[name] ??= gl.getUniformLocation(program, name)),
    }) };
  }

  attribute(name, values, width, type, usage) {
    const gl = this.gl, buffer = gl.createBuffer(), place = name === "position" ? 0 : 1;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, usage);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, type, true, 0, 0);
    return buffer;
  }

  // (N * 4) colours; a point with alpha 0 is not drawn.
  colors(rgba) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.tints);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, rgba);
  }

  target(fine) {
    const gl = this.gl, width = this.canvas.width * fine, height = this.canvas.height * fine;
    const old = this.targets[fine];
    if (old && old.width === width && old.height === height) return old;
    if (old) for (const texture of [old.color, old.depth]) gl.deleteTexture(texture);
    const made = { width, height, frame: old ? old.frame : gl.createFramebuffer() };
    const texture = (format, attachment) => {
      const one = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, one);
      gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
      for (const key of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
        gl.texParameteri(gl.TEXTURE_2D, key, gl.NEAREST);
      }
      gl.framebufferTexture2D(gl.FRAMEBUFFER, attachment, gl.TEXTURE_2D, one, 0);
      return one;
    };
    gl.bindFramebuffer(gl.FRAMEBUFFER, made.frame);
    made.color = texture(gl.RGBA8, gl.COLOR_ATTACHMENT0);
    made.depth = texture(gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT);
    return (this.targets[fine] = made);
  }

  // `quick` while something moves; else at twice the resolution where the screen is coarse.
  draw(view, state, quick) {
    const gl = this.gl, { width, height } = this.canvas, ratio = width / view.width;
    const fine = quick || ratio >= 2 || width * height * 4 > MOST_PIXELS ? 1 : 2;
    const target = this.target(fine);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.viewport(0, 0, target.width, target.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    this.drawPoints(view, state, ratio * fine);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, width, height);
    gl.disable(gl.DEPTH_TEST);
    const { program, at } = this.light;
    gl.useProgram(program);
    [[at.depths, target.depth], [at.colors, target.color]].forEach(([place, texture], i) => {
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(place, i);
    });
    gl.uniform2f(at.planes, view.near, view.far);
    gl.uniform3fv(at.ground, state.ground.map((c) => c / 255));
    gl.uniform1i(at.fine, fine);
    gl.uniform1i(at.reach, Math.max(1, Math.round(ratio * fine * 0.75)));
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  drawPoints(view, state, ratio) {
    const gl = this.gl, scene = this.scene, { program, at } = this.points;
    gl.useProgram(program);
    gl.bindVertexArray(this.cloud);
    // relative to the corner of the cloud, where single precision is enough for map coordinates
    gl.uniform3fv(at.low, [0, 0, 0]);
    gl.uniform3fv(at.extent, scene.step.map((s) => s * 65535));
    gl.uniform3fv(at.eye, plus(view.eye, scaled(scene.low, -1)));
    for (const name of ["right", "down", "forward"]) gl.uniform3fv(at[name], view[name]);
    gl.uniform3fv(at.up, scene.up);
    gl.uniform1f(at.cut, state.cut - dot(scene.low, scene.up));
    const { near, far, focal } = view;
    gl.uniform4f(at.lens, (2 * focal) / view.width, (2 * focal) / view.height,
      (far + near) / (far - near), (-2 * far * near) / (far - near));
    gl.uniform1f(at.size, state.size * focal * ratio);
    gl.uniform1f(at.largest, Math.min(this.largest, 48 * ratio));
    gl.drawArrays(gl.POINTS, 0, scene.count);
  }
}
