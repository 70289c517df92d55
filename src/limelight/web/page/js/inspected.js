/** On the page of an inspection: its pictures are links to where they can be painted over. */

import { get } from "./api.js";

const { inspection } = await get("start");
const { model, method, options } = inspection;

function addressOf(key) {
  const parts = new URLSearchParams({ picture: key, model, ...(method && { method }), tab: "hide" });
  for (const [name, value] of Object.entries(options)) parts.set(`o.${name}`, JSON.stringify(value));
  return `./#${parts}`;
}

/** Makes a link of a picture, or of the name of one that is not shown. */
function link(one) {
  const inner = one.querySelector("img") || one.firstChild;
  if (!inner || one.querySelector("a")) return;
  const made = Object.assign(document.createElement("a"), { href: addressOf(one.dataset.key), title: "Paint over it" });
  inner.replaceWith(made);
  made.append(inner);
}

const linkAll = () => document.querySelectorAll("figure[data-key], li[data-key]").forEach(link);
for (const chosen of document.querySelectorAll(".chosen")) new MutationObserver(linkAll).observe(chosen, { childList: true });
linkAll();
