/** A picture with a map over it, its cross-hair and all that stands around it: the same on the page and in a notebook. */

import { html, useEffect, useRef } from "../vendor/preact-htm.js";
import { COLOURS, decode, draw, drawLegend, shareBelow, valueAt } from "./colour.js";
import { number, passes, seconds, share } from "./words.js";

/** A cross-hair for all maps that share it: the place that is looked at, x and y in [0, 1], or null. */
export const newCross = () => ({ at: null, listeners: new Set() });

function moveCross(shared, at) {
  shared.at = at;
  for (const listener of shared.listeners) listener(at);
}

const inside = (v) => Math.min(Math.max(v, 0), 1);

export function placeOf(event, element) {
  const box = element.getBoundingClientRect();
  return { x: inside((event.clientX - box.left) / box.width), y: inside((event.clientY - box.top) / box.height) };
}

/** What the cross-hair says of a map. */
function told(map, { x, y }) {
  const one = decode(map);
  const value = valueAt(one, x, y);
  return `${number(value)} · above ${share(shareBelow(one, value))}`;
}

/**
 * @param source address of the picture.
 * @param map or null.
 * @param size [h, w] of the picture.
 * @param px width of the canvas.
 * @param look see `draw`.
 * @param shared the cross-hair.
 * @param children laid over it.
 */
export function Overlay({ source, alt, map, size, px, look, shared, on = true, readout = true, children }) {
  const canvas = useRef();
  const hair = useRef();
  const text = useRef();
  const [h, w] = size;
  const { colours, opacity, threshold, signed } = look;

  useEffect(() => {
    const c = canvas.current;
    if (map && on) draw(c, map, look);
    else c.getContext("2d").clearRect(0, 0, c.width, c.height);
  }, [map, on, colours, opacity, threshold, signed, px, h, w]);

  useEffect(() => {
    const follow = (at) => {
      hair.current.hidden = !at;
      if (at) {
        hair.current.style.setProperty("--x", `${100 * at.x}%`);
        hair.current.style.setProperty("--y", `${100 * at.y}%`);
      }
      if (text.current) text.current.textContent = at && map ? told(map, at) : "";
    };
    follow(shared.at);
    shared.listeners.add(follow);
    return () => shared.listeners.delete(follow);
  }, [map, shared]);

  const here = (e) => moveCross(shared, placeOf(e, e.currentTarget));
  const away = (e) => e.pointerType === "touch" || moveCross(shared, null); // where a finger was, the cross-hair stays
  return html`
    <div class="map">
      <div class="layers" style=${{ aspectRatio: `${w} / ${h}` }} onPointerDown=${here} onPointerMove=${here} onPointerLeave=${away}>
        <img src=${source} alt=${alt} width=${w} height=${h} draggable=${false} />
        <canvas ref=${canvas} width=${px} height=${Math.round((px * h) / w)} aria-hidden="true"></canvas>
        ${children}
        <div class="hair" ref=${hair} hidden></div>
        ${readout && html`<div class="readout" ref=${text} aria-hidden="true"></div>`}
      </div>
    </div>
  `;
}

const STEP = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Moves a cross-hair by an arrow, faster with Shift, or takes it away by Escape; returns whether it was such a key. */
export function moveByKey(e, shared) {
  const step = STEP[e.key];
  if (!step && e.key !== "Escape") return false;
  const { x, y } = shared.at || { x: 0.5, y: 0.5 };
  const by = e.shiftKey ? 0.1 : 0.02;
  moveCross(shared, step ? { x: inside(x + by * step[0]), y: inside(y + by * step[1]) } : null);
  return true;
}

/** What a map says at the cross-hair; screen readers hear it when that rests, with the map's name where it has others beside it. */
export function Reading({ map, shared, name }) {
  const text = useRef();
  const soon = useRef();
  useEffect(() => {
    const follow = (at) => {
      const short = at && map ? told(map, at) : "";
      const words = short && `${name || "here"}: ${short} of the map`;
      text.current.firstChild.textContent = name ? short : words;
      clearTimeout(soon.current);
      soon.current = setTimeout(() => text.current && (text.current.lastChild.textContent = words), 500);
    };
    follow(shared.at);
    shared.listeners.add(follow);
    return () => shared.listeners.delete(follow);
  }, [map, shared]);
  return html`<div class="reading" ref=${text}><span aria-hidden="true"></span><span class="hidden" role="status"></span></div>`;
}

export function Caption({ one, children }) {
  return html`<div class="caption">
    <b>${one.title}</b>${children}
    <span class="cost">${passes(one.passes)} · ${seconds(one.seconds)}</span>
    ${one.degenerate && html`<p class="note">${one.reason || "This map is empty."}</p>`}
    ${one.notes.map((n) => html`<p class="note">${n}</p>`)}
  </div>`;
}

/** The colours of a map from its lowest to its highest value. */
export function Legend({ map, look: { colours, signed } }) {
  const legend = useRef();
  const both = signed && map.low < 0;
  useEffect(() => drawLegend(legend.current, { colours }, both), [colours, both]);
  const top = both ? Math.max(map.high, -map.low) : map.high;
  return html`<div class="legend" aria-hidden="true"><span>${number(both ? -top : Math.max(map.low, 0))}</span>
    <canvas ref=${legend} width="128" height="8"></canvas><span>${number(top)}</span></div>`;
}

/** How maps are drawn, to be changed: `onLook` is given what is new. */
export function Look({ map, look, onLook }) {
  const slider = (label, name, max = 1) => html`<label>${label}
    <input type="range" min="0" max=${max} step="0.01" value=${look[name]} aria-valuetext=${`${Math.round(100 * look[name])} %`}
      onInput=${(e) => onLook({ [name]: Number(e.target.value) })} /></label>`;
  const tick = (label, name) => html`<label class="check"><input type="checkbox" checked=${look[name]}
    onChange=${(e) => onLook({ [name]: e.target.checked })} /> ${label}</label>`;
  return html`<div class="look">
    ${map && html`<${Legend} map=${map} look=${look} />`}
    ${tick("Map", "on")}
    ${tick("For and against", "signed")}
    <label>Colours <select value=${look.colours} onChange=${(e) => onLook({ colours: e.target.value })}>
      ${Object.entries(COLOURS).map(([name, title]) => html`<option value=${name}>${title}</option>`)}</select></label>
    ${slider("Strength", "opacity")}
    ${slider("Hide the lowest", "threshold", 0.99)}
  </div>`;
}
