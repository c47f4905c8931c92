// A click on the head of a column sorts the table by it: numbers as numbers, the rest as text.
function key(row, column) {
  const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
  const number = parseFloat(text.replace("\u2212", "-"));
  return /^[+\-\u2212]?[\d.]/.test(text) && !Number.isNaN(number) ? number : text.toLowerCase();
}

function compare(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1;
}

function sortBy(table, column) {
  const head = table.tHead.rows[0].cells;
  const sign = head[column].getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const cell of head) cell.removeAttribute("aria-sort");
  head[column].setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const rows = Array.from(table.tBodies[0].rows);
  rows.sort((a, b) => sign * compare(key(a, column), key(b, column)));
  rows.forEach((row) => table.tBodies[0].appendChild(row));
}

document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll(".bd-article table")) {
    if (!table.tHead || !table.tBodies.length) continue;
    Array.from(table.tHead.rows[0].cells).forEach((cell, column) => {
      cell.addEventListener("click", () => sortBy(table, column));
    });
  }
});
