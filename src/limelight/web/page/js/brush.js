/** The brush: a mask as large as the picture, its strokes, and one question at a time about the latest of it. */

import { post } from "./api.js";
import { cross } from "./map.js";
import { question, fail, modelOf, setBrush, state } from "./state.js";

const MOST_UNDO = 40;
const sheet = document.createElement("canvas");
const pen = sheet.getContext("2d", { willReadFrequently: true });
let undone = [];
let last = null;
let shown = null; // the canvas over the picture
let asking = false;
let again = false;
let turn = 0;

export function outline(canvas) {
  shown = canvas;
  show();
}

function show() {
  if (!shown) return;
  const ink = shown.getContext("2d");
  ink.clearRect(0, 0, shown.width, shown.height);
  if (state.brush.reply && !asking) return; // the picture itself shows what is hidden
  ink.globalAlpha = 0.45;
  ink.drawImage(sheet, 0, 0);
  ink.globalAlpha = 1;
}

function fit() {
  const [h, w] = modelOf(state.model).size;
  if (sheet.width === w && sheet.height === h) return;
  sheet.width = w;
  sheet.height = h;
  undone = [];
}

export function begin(at) {
  fit();
  undone.push(pen.getImageData(0, 0, sheet.width, sheet.height));
  if (undone.length > MOST_UNDO) undone.shift();
  last = null;
  dab(at);
}

export function dab(at) {
  const { size, tool } = state.brush;
  const [x, y] = [at.x * sheet.width, at.y * sheet.height];
  pen.globalCompositeOperation = tool === "erase" ? "destination-out" : "source-over";
  pen.strokeStyle = pen.fillStyle = "#ff9d00";
  pen.lineWidth = (size / 100) * sheet.width;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...(last || [x, y]));
  pen.lineTo(x + 0.01, y);
  pen.stroke();
  last = [x, y];
  painted();
}

export function end() {
  last = null;
}

/** Space paints at the cross-hair, Control and Z undoes; tells whether the key meant something. */
export function paintKey(e) {
  if (e.key === " ") begin(cross.at || { x: 0.5, y: 0.5 });
  else if (e.key === "z" && (e.ctrlKey || e.metaKey)) undo();
  else return false;
  return true;
}

export function undo() {
  const before = undone.pop();
  if (!before) return;
  pen.putImageData(before, 0, 0);
  painted();
}

export const canUndo = () => undone.length > 0;

export function clear() {
  pen.clearRect(0, 0, sheet.width, sheet.height);
  undone = [];
  turn++;
  setBrush({ painted: 0, reply: null });
  show();
}

let seen = "";
/** Drops the mask with the picture it belongs to; of another class, asks anew. */
export function follow() {
  const now = JSON.stringify([state.picture, state.model]);
  const target = JSON.stringify(question().target);
  const [before, asked] = seen ? seen.split("\n") : [now, target];
  seen = `${now}\n${target}`;
  if (before !== now) {
    if (state.brush.painted) clear();
    fit();
  } else if (asked !== target && state.brush.painted) painted();
}

function mask() {
  const { data } = pen.getImageData(0, 0, sheet.width, sheet.height);
  const bytes = new Uint8Array(sheet.width * sheet.height);
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += bytes[i] = data[4 * i + 3];
  return { bytes, share: sum / 255 / bytes.length };
}

function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** Asks what the network says now; while an answer is on its way, the latest mask waits for it. */
export async function painted() {
  again = true;
  if (asking) return show();
  asking = true;
  show();
  while (again) {
    again = false;
    const now = turn;
    const { bytes, share } = mask();
    if (share === 0) {
      setBrush({ painted: 0, reply: null });
      continue;
    }
    const { picture, model } = state;
    const { target } = question();
    const { mode, fill } = state.brush;
    try {
      const reply = await post("hide", { picture, model, target, mask: base64(bytes), mode, fill });
      if (now === turn && picture === state.picture && model === state.model) setBrush({ painted: share, reply });
    } catch (error) {
      fail(error);
    }
  }
  asking = false;
  show();
}
