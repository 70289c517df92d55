/** Maps to colours that colour-blind eyes tell apart. A map is {shape, scale, data}: half-precision numbers. */

const STOPS = {
  viridis: "440154481a6c472f7d41448739568c31688e2a788e23888e1f988b22a88435b77954c5687ad151a5db36d2e21bfde725",
  cividis: "00224e002e6c1e3a6f35456c47516c575d6d666970757575848279948e77a59c74b7a96ec8b866dbc75aeed649fee838",
  magma: "0000040b092420114b3b0f7057157e721f818c2981a8327dc43c75de4968f1605dfa7f5efe9f6dfebf84fddea0fcfdbf",
  grey: "000000ffffff",
};
const BLUE = [33, 102, 172];
const ORANGE = [230, 97, 1];

export const COLOURS = { viridis: "Viridis", cividis: "Cividis", magma: "Magma", grey: "Grey", spot: "Spotlight" };

const tables = {};
function table(name) {
  if (tables[name]) return tables[name];
  const hex = STOPS[name].match(/../g).map((h) => parseInt(h, 16));
  const last = hex.length / 3 - 1;
  const lut = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * last;
    const k = Math.min(Math.floor(at), last - 1);
    for (let c = 0; c < 3; c++) lut[i * 3 + c] = hex[k * 3 + c] + (at - k) * (hex[k * 3 + 3 + c] - hex[k * 3 + c]);
  }
  return (tables[name] = lut);
}

const read = new WeakMap();

/** The numbers of a map: {h, w, values, sorted, low, high}. */
export function decode(map) {
  if (read.has(map)) return read.get(map);
  const bytes = Uint8Array.from(atob(map.data), (c) => c.charCodeAt(0));
  const halves = new Uint16Array(bytes.buffer);
  const values = Float32Array.from(halves, (bits) => half(bits) * map.scale);
  const sorted = values.slice().sort();
  const one = { h: map.shape[0], w: map.shape[1], values, sorted, low: sorted[0], high: sorted[sorted.length - 1] };
  read.set(map, one);
  return one;
}

function half(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
  return bits & 0x8000 ? -size : size;
}

/** The value at a place, x and y in [0, 1]: bilinear, as the map is drawn. */
export function valueAt({ h, w, values }, x, y) {
  const fx = Math.min(Math.max(x * w - 0.5, 0), w - 1);
  const fy = Math.min(Math.max(y * h - 0.5, 0), h - 1);
  const x0 = Math.floor(fx), y0 = Math.floor(fy);
  const x1 = Math.min(x0 + 1, w - 1), y1 = Math.min(y0 + 1, h - 1);
  const a = values[y0 * w + x0] + (fx - x0) * (values[y0 * w + x1] - values[y0 * w + x0]);
  const b = values[y1 * w + x0] + (fx - x0) * (values[y1 * w + x1] - values[y1 * w + x0]);
  return a + (fy - y0) * (b - a);
}

/** The share of the map that is lower than a value. */
export function shareBelow({ sorted }, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low / sorted.length;
}

/** Draws a map over the picture that lies under the canvas. `look`: colours, opacity, threshold (share hidden), signed. */
export function draw(canvas, map, look) {
  const one = decode(map);
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const both = look.signed && one.low < 0;
  const low = one.low < 0 ? 0 : one.low;
  const top = both ? Math.max(one.high, -one.low) : one.high - low;
  const floor = look.threshold > 0 ? thresholdOf(one, look.threshold, both) : -Infinity;
  const lut = table(look.colours === "spot" ? "grey" : look.colours);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      const value = valueAt(one, (x + 0.5) / width, (y + 0.5) / height);
      const hidden = (both ? Math.abs(value) : value) < floor;
      paint(image.data, at, value, { both, low, top, hidden, lut, look });
    }
  }
  context.putImageData(image, 0, 0);
}

function paint(data, at, value, { both, low, top, hidden, lut, look }) {
  const share = top > 0 ? Math.min(Math.max((both ? value : value - low) / top, -1), 1) : 0;
  if (both) {
    data.set(share < 0 ? BLUE : ORANGE, at);
    data[at + 3] = hidden ? 0 : 255 * look.opacity * Math.abs(share) ** 0.75;
  } else if (look.colours === "spot") {
    data[at + 3] = 255 * look.opacity * (hidden ? 1 : 1 - Math.max(share, 0));
  } else {
    const v = Math.round(Math.max(share, 0) * 255) * 3;
    data[at] = lut[v];
    data[at + 1] = lut[v + 1];
    data[at + 2] = lut[v + 2];
    data[at + 3] = hidden ? 0 : 255 * look.opacity * (0.25 + 0.75 * Math.max(share, 0));
  }
}

function thresholdOf(one, share, both) {
  const sorted = both ? (one.sizes ??= one.values.map(Math.abs).sort()) : one.sorted;
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** The colours of a legend, from low to high, as a canvas draws them. */
export function drawLegend(canvas, look, both) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, 1);
  const lut = table(look.colours === "spot" ? "grey" : look.colours);
  for (let x = 0; x < canvas.width; x++) {
    const share = x / (canvas.width - 1);
    if (both) {
      const signed = 2 * share - 1;
      image.data.set(signed < 0 ? BLUE : ORANGE, 4 * x);
      image.data[4 * x + 3] = 255 * Math.abs(signed) ** 0.75;
    } else {
      image.data.set(lut.subarray(Math.round(share * 255) * 3, Math.round(share * 255) * 3 + 3), 4 * x);
      image.data[4 * x + 3] = 255;
    }
  }
  for (let y = 0; y < canvas.height; y++) context.putImageData(image, 0, y);
}
