"use strict";
// Without this the page is the same table, sorted by the end.
const body = document.querySelector("tbody");
const rows = [...body.rows];
const search = document.querySelector("#search");
const attention = document.querySelector("#attention");
const order = document.querySelector("#order");
const headers = [...document.querySelectorAll("thead th")];
const shown = document.querySelector("output");

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const wanted = words.every((word) => text.includes(word)) && (!attention.checked || row.dataset.attention === "yes");
    row.hidden = !wanted;
    count += wanted ? 1 : 0;
  }
  shown.value = count === rows.length ? `${count} shown` : `${count} of ${rows.length} shown`;
}

function sort(index, down) {
  const header = headers[index];
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[index].dataset.key ?? row.cells[index].textContent;
  rows.sort((a, b) => key(a).localeCompare(key(b), "en", { numeric: true }) * (down ? -1 : 1));
  body.append(...rows);
  order.value = String(index);
}

headers.forEach((header, index) => {
  const down = () => header.getAttribute("aria-sort") === "ascending";
  header.querySelector("button").addEventListener("click", () => sort(index, down()));
});
order.addEventListener("change", () => sort(Number(order.value), false));
search.addEventListener("input", filter);
attention.addEventListener("change", filter);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
// What a browser kept over a reload would hide rows without a word.
search.value = "";
attention.checked = false;
document.querySelector("form").hidden = false;
filter();
