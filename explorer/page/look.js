// What the page shows: a state of seeds with weights, a class, and options that differ from their defaults.

export const MOST_SEEDS = 64;
const LARGEST_SEED = 2 ** 32;
const LEAST = 0.01; // weights below this are left out

/** The state that a page begins with, and that older saved states lack parts of. */
export const EMPTY = { seeds: [[0, 1]], label: null, classes: [], latent: "", options: {} };

export const same = (a, b) => JSON.stringify(plain(a)) === JSON.stringify(plain(b));

/** A state with its keys in order, without the network's name. */
function plain(state) {
  const options = Object.fromEntries(Object.entries(state.options).sort());
  return { ...EMPTY, ...state, network: null, options };
}

export const wrapped = (seed) => ((Math.round(seed) % LARGEST_SEED) + LARGEST_SEED) % LARGEST_SEED;

/** Seeds with weights whose squares sum to 1, each seed once, the heaviest first. */
export function normalized(seeds) {
  const sums = new Map();
  for (const [seed, weight] of seeds) sums.set(seed, (sums.get(seed) ?? 0) + weight);
  const length = Math.hypot(...sums.values()) || 1;
  const parts = [...sums].map(([seed, weight]) => [seed, Math.round((1000 * weight) / length) / 1000]);
  const kept = parts.filter(([, weight]) => Math.abs(weight) >= LEAST).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  if (kept.length === 0) return [[seeds[0][0], 1]];
  if (kept.length === 1) return [[kept[0][0], 1]];
  return kept.slice(0, MOST_SEEDS);
}

/** The seeds at a distance (x, y), in widths of the picture from 0 to 1, towards the neighbors of the first seed. */
export function walked(seeds, x, y) {
  const first = seeds[0][0];
  const near = (right, below) => wrapped(Math.abs(first + Math.sign(right) + 100 * Math.sign(below)));
  const a = (Math.abs(x) * Math.PI) / 2, b = (Math.abs(y) * Math.PI) / 2;
  const scaled = normalized(seeds).map(([seed, weight]) => [seed, weight * Math.cos(a) * Math.cos(b)]);
  return normalized([
    ...scaled,
    [near(x, 0), Math.sin(a) * Math.cos(b)],
    [near(0, y), Math.cos(a) * Math.sin(b)],
    [near(x, y), Math.sin(a) * Math.sin(b)],
  ]);
}

/** A small step from seeds towards another one. */
export const stepped = (seeds, towards, step) => normalized([...normalized(seeds), [towards, step]]);

/** A small variation of a state: a step towards a seed, or some of its styles in the place of latents' own. */
export function varied(state, seed, step, { controls, layers }) {
  const styles = controls.find(({ kind }) => kind === "styles");
  if (!state.latent || !styles) return { ...state, latent: "", seeds: stepped(state.seeds, seed, step) };
  const part = `${seed}@0-${layers - 1}@${Math.round(50 * step) / 100}`, before = state.options[styles.name];
  return { ...state, options: { ...state.options, [styles.name]: before ? `${before};${part}` : part } };
}

export const crossed = (seeds, others) => normalized([...normalized(seeds), ...normalized(others)]);

/** The address of a state, after the #: seeds=85&class=2&psi=0.7. */
export function written(state, controls) {
  const seeds = state.seeds.map(([seed, weight]) => (state.seeds.length === 1 ? `${seed}` : `${seed}:${weight}`));
  const parts = [state.latent ? `latent=${state.latent}` : `seeds=${seeds.join(",")}`];
  if (state.classes.length) parts.push(`classes=${state.classes.map((part) => part.join(":")).join(",")}`);
  else if (state.label !== null) parts.push(`class=${state.label}`);
  for (const { name } of controls) {
    if (name in state.options) parts.push(`${name}=${encodeURIComponent(state.options[name])}`);
  }
  return parts.join("&");
}

/** The state of an address, or null. The server checks the values. */
export function read(hash, controls) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  if (!given.has("seeds") && !given.has("latent")) return null;
  const weighted = (text) => text.split(",").map((part) => {
    const [number, weight] = part.split(":");
    return [Number(number), weight === undefined ? 1 : Number(weight)];
  });
  const seeds = weighted(given.get("seeds") ?? "0"), classes = given.has("classes") ? weighted(given.get("classes")) : [];
  if ([...seeds, ...classes].flat().some((value) => !Number.isFinite(value))) return null;
  const options = {};
  for (const { name, kind } of controls) {
    const text = given.get(name);
    if (text === null) continue;
    if (text === "null") options[name] = null;
    else if (kind === "number" || kind === "whole") options[name] = Number(text);
    else options[name] = kind === "switch" ? text === "true" : text;
  }
  const label = given.has("class") ? Number(given.get("class")) : null;
  return { ...EMPTY, seeds, label, classes, latent: given.get("latent") ?? "", options };
}

/** A function that tells a state in words: its seed and class, and what was changed. */
export function namer(about) {
  const called = (k) => about.classes[k] ?? `class ${k}`;
  const kinds = (label, classes) => {
    const shown = classes.filter(([, weight]) => weight > 0).map(([k, weight]) => `${called(k)} ${weight}`);
    return shown.length ? [shown.join(" + ")] : label === null ? [] : [called(label)];
  };
  return ({ seeds, label, classes, latent, options }) => {
    const from = latent ? latent.replace("-", " ") : seeds.length === 1 ? `seed ${seeds[0][0]}` : `between seeds ${seeds.map(([seed]) => seed).join(", ")}`;
    const changed = Object.entries(options).map(([name, value]) => `${name.replaceAll("_", " ")} ${value ?? "off"}`);
    return [from, ...kinds(label, classes), ...changed].join(", ");
  };
}
