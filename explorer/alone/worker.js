// Computes pictures with ONNX Runtime: seed -> z -> w, pulled towards the average w -> image -> pixels.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { normal } from "./seeds.js";

ort.env.wasm.wasmPaths = { wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1; // more need headers that plain file servers do not send

const waiting = new Map(); // slot -> the newest question
const known = new Map(); // seeds and class -> w
const KEPT = 500;
let about, mapping, synthesis, busy = false;

addEventListener("message", ({ data }) => {
  if (data.about) return begin(data.about);
  waiting.set(data.slot, data);
  if (!busy && synthesis) work();
});

async function begin(given) {
  about = given;
  try {
    mapping = await ort.InferenceSession.create("mapping.onnx");
    synthesis = await ort.InferenceSession.create("synthesis.onnx");
    postMessage({ ready: true });
    work();
  } catch (error) {
    postMessage({ error: `the network cannot be opened in this browser (${error.message})` });
  }
}

/** Answer the questions, the picture before its children. */
async function work() {
  busy = true;
  while (waiting.size) {
    const question = waiting.get(Math.min(...waiting.keys()));
    waiting.delete(question.slot);
    const { number, slot, state, draft } = question, start = performance.now();
    try {
      const { data, width, height } = await picture(state);
      const told = { number, slot, state, exact: !draft, share: 1, ms: Math.round(10 * (performance.now() - start)) / 10 };
      postMessage({ told, data, width, height }, [data]);
    } catch (error) {
      postMessage({ told: { number, slot, error: error.message } });
    }
    await new Promise((rest) => setTimeout(rest)); // newer questions arrive
  }
  busy = false;
}

async function picture(state) {
  const images = (await synthesis.run({ ws: pulled(await latent(state), state.options) })).images;
  const [, channels, height, width] = images.dims, size = width * height, from = images.data, pixels = new Uint8ClampedArray(4 * size);
  for (let k = 0; k < size; k++) {
    for (let c = 0; c < 4; c++) {
      const of = channels < 3 ? 0 : c;
      pixels[4 * k + c] = c === 3 && channels < 4 ? 255 : Math.floor(Math.min(255, Math.max(0, from[of * size + k] * 127.5 + 128)));
    }
  }
  return { data: pixels.buffer, width, height };
}

/** The w of a state, before it is pulled. */
async function latent({ seeds, label }) {
  const { learned, engine } = about, of = label ?? (learned.length ? learned[seeds[0][0] % learned.length] : null);
  const key = JSON.stringify([seeds, of]);
  if (known.has(key)) return known.get(key);
  const z = new Float64Array(engine.width), length = Math.hypot(...seeds.map(([, weight]) => weight));
  if (length === 0) throw new Error("the weights of all seeds are 0: give at least one seed a larger weight");
  for (const [seed, weight] of seeds) normal(seed, engine.width).forEach((value, k) => { z[k] += value * weight / length; });
  const inputs = { z: new ort.Tensor("float32", Float32Array.from(z), [1, engine.width]), psi: new ort.Tensor("float32", Float32Array.of(1), []) };
  if (about.classes.length) inputs.c = new ort.Tensor("float32", Float32Array.from(about.classes, (_, k) => Number(k === of)), [1, about.classes.length]);
  const { ws } = await mapping.run(inputs);
  known.set(key, ws);
  if (known.size > KEPT) known.delete(known.keys().next().value);
  return ws;
}

/** w with some layers pulled towards the average: average + strength (w - average). */
function pulled(ws, options) {
  const { average, pull } = about.engine, value = (name) => options[name] ?? about.controls.find((control) => control.name === name)?.default;
  const strength = value(pull.strength), [, layers, width] = ws.dims, first = value(pull.from) ?? 0, end = value(pull.until) ?? layers;
  if (strength === 1) return ws;
  const data = ws.data.map((w, k) => {
    const layer = Math.floor(k / width), middle = average[k % width];
    return layer >= first && layer < end ? middle + strength * (w - middle) : w;
  });
  return new ort.Tensor("float32", data, ws.dims);
}
