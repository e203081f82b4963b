// The data of the page: JSON with base64 blocks becomes typed arrays. All text in it is untrusted
// and reaches the page through textContent only.

function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

const ARRAY_TYPES = {
  u8: Uint8Array, i8: Int8Array, u16: Uint16Array, i16: Int16Array, i32: Int32Array,
};

// Little-endian blocks, as every browser's machine has it.
function decodeArray(block) {
  const bytes = bytesOf(block.data);
  return new ARRAY_TYPES[block.type](bytes.buffer);
}

function decodeScene(raw) {
  const scene = { ...raw };
  for (const name of Object.keys(raw.arrays)) scene[name] = decodeArray(raw.arrays[name]);
  scene.heat = bytesOf(raw.heat);
  if (scene.features) scene.norms = featureNorms(scene.features, scene.dims, scene.count);
  scene.height = floorAndTop(scene);
  return scene;
}

function featureNorms(features, dims, count) {
  const norms = new Float32Array(count);
  for (let i = 0, k = 0; i < count; i++) {
    let sum = 0;
    for (const end = k + dims; k < end; k++) sum += features[k] * features[k];
    norms[i] = Math.sqrt(sum);
  }
  return norms;
}

// A place in metres, in the frame of the file.
function placeOf(scene, i) {
  const p = scene.positions, low = scene.low, step = scene.step;
  return [0, 1, 2].map((a) => low[a] + p[3 * i + a] * step[a]);
}

function heightOf(scene, i) {
  const p = scene.positions, { low, step, up } = scene;
  return (low[0] + p[3 * i] * step[0]) * up[0] + (low[1] + p[3 * i + 1] * step[1]) * up[1]
    + (low[2] + p[3 * i + 2] * step[2]) * up[2];
}

// Heights along up below and above which only stray points lie.
function floorAndTop(scene) {
  const every = Math.max(1, Math.floor(scene.count / 20000));
  const values = [];
  for (let i = 0; i < scene.count; i += every) values.push(heightOf(scene, i));
  if (!values.length) return { floor: 0, top: 1 };
  values.sort((a, b) => a - b);
  const at = (share) => values[Math.floor(share * (values.length - 1))];
  return { floor: at(0.01), top: values[values.length - 1] };
}
