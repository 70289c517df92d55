/** The viewer in a notebook, as anywidget asks for it: a line for each picture, with one map or several beside each other. */

import { html, render, useEffect, useReducer, useState } from "../vendor/preact-htm.js";
import { Caption, Legend, Look, moveByKey, newCross, Overlay, Reading } from "./viewer.js";

function Viewer({ model }) {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => (model.on("change:look", again), () => model.off?.("change:look", again)), []);
  const rows = model.get("rows");
  const look = model.get("look");
  const signed = look.signed ?? rows.some((row) => row.maps.some((one) => one.signed));
  const onLook = (patch) => {
    model.set("look", { ...look, ...patch });
    model.save_changes();
  };
  const narrow = rows.every((row) => row.maps.length === 1);
  return html`<div class=${`viewer ${narrow ? "narrow" : ""}`}>
    ${rows.map((row) => html`<${Line} row=${row} look=${look} />`)}
    <${Look} look=${{ ...look, signed }} onLook=${onLook} />
    <p class="hidden" id="how">Arrow keys move the cross-hair, with Shift faster.</p>
  </div>`;
}

function Line({ row, look }) {
  const [shared] = useState(newCross);
  const alone = row.maps.length === 1;
  return html`<div class="line">
    ${row.maps.map((one) => html`<${One} one=${one} row=${row} shared=${shared} alone=${alone}
      look=${{ ...look, signed: look.signed ?? one.signed }} />`)}
  </div>`;
}

function One({ one, row, shared, alone, look }) {
  const key = (e) => moveByKey(e, shared) && e.preventDefault();
  const about = `${one.method} for ${one.title}`;
  return html`<div class="one">
    <div class="stage" role="group" tabindex="0" aria-label=${about} aria-describedby="how" onKeyDown=${key}>
      <${Overlay} source=${row.picture} alt=${`The picture with a map over it: ${about}`} map=${one.map} size=${row.size}
        px=${alone ? 480 : 240} look=${look} on=${look.on} readout=${false} shared=${shared} />
    </div>
    <${Reading} map=${one.map} shared=${shared} name=${alone ? "" : one.method} />
    <${Legend} map=${one.map} look=${look} />
    <${Caption} one=${one}><span>${one.method}</span><//>
  </div>`;
}

/** Dark where the text of the notebook is light, whichever notebook it is. */
function theme(host) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = getComputedStyle(host.parentElement).color;
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
  host.dataset.theme = 0.2126 * r + 0.7152 * g + 0.0722 * b > 127 ? "dark" : "light";
}

export default {
  render({ model, el }) {
    const host = el.appendChild(document.createElement("div"));
    host.dataset.lmSuppressShortcuts = "true"; // in JupyterLab keys are for the notebook unless someone says otherwise
    const room = host.attachShadow({ mode: "open" }); // neither the notebook's style comes in, nor ours out
    room.appendChild(document.createElement("style")).textContent = model.get("css");
    const root = room.appendChild(document.createElement("div"));
    render(html`<${Viewer} model=${model} />`, root);
    const follow = () => theme(host);
    const placed = new ResizeObserver(follow); // also when it is put into the notebook, which is later
    placed.observe(host);
    const turned = new MutationObserver(follow);
    for (const one of [document.documentElement, document.body]) turned.observe(one, { attributes: true });
    return () => (placed.disconnect(), turned.disconnect(), render(null, root));
  },
};
