"use strict";
// Heads of sortable tables become buttons: the first click sorts as the column wants it, the next the other way.
const value = (cell) => cell.dataset.number === undefined ? cell.textContent.trim() : Number(cell.dataset.number);
const compare = (a, b) => {
  if (typeof a === "string" || typeof b === "string") return String(a).localeCompare(String(b), "en", { numeric: true });
  return a - b;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const order = now === null ? head.dataset.first : now === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const rows = [...table.tBodies[0].rows].map((row) => [value(row.cells[column]), row]);
      const lacks = (a) => Number.isNaN(a);
      rows.sort(([a], [b]) => lacks(a) - lacks(b) || (lacks(a) ? 0 : compare(a, b) * (order === "ascending" ? 1 : -1)));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
// Every word must be in the name of the method or in the heading above the table.
for (const filter of document.querySelectorAll(".filter")) {
  const input = filter.querySelector("input"), output = filter.querySelector("output");
  filter.hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0, all = 0;
    for (const table of filter.closest("section").querySelectorAll("table.sortable")) {
      const group = table.closest(".group");
      const title = group ? group.querySelector("h3").textContent : "";
      let here = 0;
      for (const row of table.tBodies[0].rows) {
        const text = `${title} ${row.cells[0].textContent}`.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        here += !row.hidden;
        all += 1;
      }
      (group || table).hidden = here === 0;
      shown += here;
    }
    output.textContent = words.length ? `${shown} of ${all} rows` : "";
  });
}
// Paper can't be clicked: what is folded opens for printing, and folds again after it.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => { for (const one of folded) one.open = false; });
