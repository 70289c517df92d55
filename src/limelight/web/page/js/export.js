/** Files of what is on the page, and its permanent address. */

import { html, useRef } from "../vendor/preact-htm.js";
import { file } from "./api.js";
import { draw } from "./colour.js";
import { shownAs } from "./map.js";
import { copy } from "./settings.js";
import { about, classesOf, explanation, fail, labelOf, lookOf, modelOf, secondOf, state } from "./state.js";
import { number, passes, percent, seconds } from "./words.js";

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const named = (one, kind) =>
  `${(state.names[one.picture] || "picture").replace(/\.\w+$/, "")} ${one.method} ${one.label}.${kind}`.replace(/[^\w.+-]+/g, "-");

export function Menu() {
  const menu = useRef();
  const one = explanation()?.value;
  const run = (work) => () => {
    menu.current.open = false;
    Promise.resolve().then(work).catch(fail);
  };
  const made = (kind) => run(async () => save(await file("export", { ...about(one), kind }), named(one, kind)));
  const away = (e) => !menu.current.contains(e.relatedTarget) && e.relatedTarget && (menu.current.open = false);
  return html`<details class="menu" ref=${menu} onFocusOut=${away} onKeyDown=${(e) => e.key === "Escape" && (menu.current.open = false)}>
    <summary>Save</summary>
    <div>
      <button disabled=${!one?.final} onClick=${made("png")}>Picture (PNG)</button>
      <button disabled=${!one?.final} onClick=${made("svg")}>Drawing (SVG)</button>
      <button disabled=${!one?.final} onClick=${made("npz")}>Numbers (NPZ)</button>
      <button disabled=${!one?.final} onClick=${made("json")}>All of it (JSON)</button>
      <button disabled=${!one?.final} onClick=${run(async () => save(new Blob([await session()], { type: "text/html" }), named(one, "html")))}>This page as one file (HTML)</button>
      <button onClick=${run(() => copy(location.href))}>Copy the address</button>
    </div>
  </details>`;
}

/* The session as one page: pictures and numbers, nothing to load, no script. */

const escaped = (text) => String(text ?? "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

async function painted(one, px = 384) {
  const [h, w] = modelOf(one.model).size;
  const picture = new Image();
  picture.src = shownAs(one.picture, one.model);
  await picture.decode();
  const sheet = Object.assign(document.createElement("canvas"), { width: px, height: Math.round((px * h) / w) });
  const over = Object.assign(document.createElement("canvas"), { width: sheet.width, height: sheet.height });
  draw(over, one.map, lookOf(one.method));
  const pen = sheet.getContext("2d");
  pen.drawImage(picture, 0, 0, sheet.width, sheet.height);
  pen.drawImage(over, 0, 0);
  return sheet.toDataURL("image/png");
}

async function session() {
  const main = explanation().value;
  const others = state.start.methods.map((m) => m.name !== main.method && explanation(m.name)?.value).filter((o) => o?.final);
  const side = state.tab === "two" && explanation(state.method, secondOf())?.value;
  const shown = [main, ...(side?.final ? [side] : []), ...others];
  const figures = await Promise.all(shown.map(async (one, i) => `<figure${i ? "" : ' class="main"'}><img src="${await painted(one, i ? 224 : 448)}" alt="${escaped(`${one.title} for ${one.label}`)}">
<figcaption><b>${escaped(one.title)}</b> · ${escaped(one.label)} ${percent(one.probability)}<br>${escaped(one.model)} · ${passes(one.passes)} · ${seconds(one.seconds)}</figcaption></figure>`));
  const rows = (classesOf()?.classes || []).map((c) => `<tr><th scope="row">${escaped(c.label)}</th><td>${percent(c.probability)}</td><td>${number(c.score)}</td></tr>`);
  const against = state.target.against === null ? "" : `, rather than ${labelOf(state.target.against)}`;
  const title = `Why ${main.label}${against}?`;
  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escaped(title)}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}figure{display:inline-block;margin:0 1rem 1rem 0;vertical-align:top}figure.main{display:block}img{max-width:100%;display:block}figure:not(.main) img{width:14rem}td,th{padding:.1rem 1rem .1rem 0;text-align:left;font-weight:normal}pre{overflow:auto;padding:1rem;background:#8882}</style></head>
<body><main><h1>${escaped(title)}</h1><p>${escaped(state.names[state.picture] || state.picture)}, seen by ${escaped(state.model)}; Limelight ${escaped(state.start.version)}.</p>
${figures.join("\n")}
<h2>Classes</h2><table><thead><tr><th scope="col">class</th><th scope="col">probability</th><th scope="col">score</th></tr></thead><tbody>${rows.join("")}</tbody></table>
<h2>Make it again</h2><pre tabindex="0">${escaped(main.python)}</pre></main></body></html>
`;
}
