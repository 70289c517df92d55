/** A picture with a map over it, and the cross-hair that all maps share. */

import { html, useEffect, useRef } from "../vendor/preact-htm.js";
import { decode, draw, shareBelow, valueAt } from "./colour.js";
import { lookOf, state } from "./state.js";
import { number, share } from "./words.js";

/** The place that is looked at, x and y in [0, 1], or null. */
export const cross = { at: null, listeners: new Set() };

export function moveCross(at) {
  cross.at = at;
  for (const listener of cross.listeners) listener(at);
}

export function placeOf(event, element) {
  const box = element.getBoundingClientRect();
  const inside = (v) => Math.min(Math.max(v, 0), 1);
  return { x: inside((event.clientX - box.left) / box.width), y: inside((event.clientY - box.top) / box.height) };
}

export const shownAs = (picture, model) =>
  `api/pictures/${encodeURIComponent(picture)}/shown?model=${encodeURIComponent(model)}`;

/** What the cross-hair says of a map. */
export function told(map, { x, y }) {
  const one = decode(map);
  const value = valueAt(one, x, y);
  return `${number(value)} · above ${share(shareBelow(one, value))}`;
}

/**
 * @param source address of the picture.
 * @param map or null.
 * @param size [h, w] of the picture.
 * @param px width of the canvas.
 * @param children laid over it.
 */
export function MapView({ source, alt, map, size, px, look = lookOf(state.method), on = true, readout = true, children }) {
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
    follow(cross.at);
    cross.listeners.add(follow);
    return () => cross.listeners.delete(follow);
  }, [map]);

  return html`
    <div class="map" onPointerMove=${(e) => moveCross(placeOf(e, e.currentTarget))} onPointerLeave=${() => moveCross(null)}>
      <div class="layers" style=${{ aspectRatio: `${w} / ${h}` }}>
        <img src=${source} alt=${alt} width=${w} height=${h} draggable=${false} />
        <canvas ref=${canvas} width=${px} height=${Math.round((px * h) / w)} aria-hidden="true"></canvas>
        ${children}
        <div class="hair" ref=${hair} hidden></div>
        ${readout && html`<div class="readout" ref=${text} aria-hidden="true"></div>`}
      </div>
    </div>
  `;
}

/** A bar that fills, with words beside it. */
export function Progress({ job, text }) {
  const { progress: p, ahead } = job;
  const done = p && p.total ? p.done / p.total : null;
  const left = p && p.seconds_left ? `, about ${Math.ceil(p.seconds_left)} s left` : "";
  const words = p?.text || (done === null ? text : `${p.done} of ${p.total}${left}`);
  return html`<div class="progress">
    <progress aria-label=${text} value=${done ?? undefined} max="1"></progress>
    <span>${ahead > 0 && !p ? `waiting, ${ahead} before this` : words}</span>
    <button class="quiet" onClick=${job.stop}>Stop</button>
  </div>`;
}
