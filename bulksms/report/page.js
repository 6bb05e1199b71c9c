"use strict";
(() => {
  const people = document.getElementById("people");
  if (people === null) return;
  const copied = document.getElementById("copied");
  const asText = () => Array.from(people.rows, (row) => Array.from(row.cells, (cell) => cell.innerText.trim()).join("\t")).join("\n");

  const select = () => {
    const range = document.createRange();
    range.selectNodeContents(people);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  };

  document.getElementById("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(asText());
      copied.textContent = "Copied, with a tab between the columns.";
    } catch {
      select();
      copied.textContent = "Selected: copy it with Ctrl+C.";
    }
  });

  document.getElementById("print").addEventListener("click", () => {
    document.body.classList.add("list-only");
    print();
  });
  addEventListener("afterprint", () => document.body.classList.remove("list-only"));
  document.querySelector(".tools").hidden = false;
})();
(() => {
  const table = document.getElementById("all");
  if (table === null) return;
  const body = table.tBodies[0];
  const search = document.getElementById("search");
  const state = document.getElementById("state");
  const matches = document.getElementById("matches");
  const count = new Intl.NumberFormat("en");
  const inOrder = new Intl.Collator("en", { numeric: true }).compare;
  let lines = Array.from(body.rows, (row) => ({ row, text: null, keys: [], isShown: true }));
  const sorted = { column: 0, direction: 1 };

  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const line of lines) {
      if (words.length > 0 && line.text === null) line.text = line.row.textContent.toLowerCase();
      const isInState = state.value === "" || line.row.cells[2].firstChild.textContent === state.value;
      const isShown = isInState && words.every((word) => line.text.includes(word));
      if (isShown !== line.isShown) line.row.classList.toggle("off", !isShown);
      line.isShown = isShown;
      shown += Number(isShown);
    }
    const all = `${count.format(lines.length)} messages`;
    matches.textContent = shown === lines.length ? all : `${count.format(shown)} of ${all}`;
  };

  const compare = (one, other, column, isNumber) => {
    const [left, right] = [one.keys[column], other.keys[column]];
    if (left === "" || right === "") return Number(left === "") - Number(right === "");
    return sorted.direction * (isNumber ? left - right : inOrder(left, right));
  };

  const keyOf = (cell) => cell.querySelector("time")?.dateTime ?? cell.textContent.trim();

  const sort = (header, column) => {
    sorted.direction = sorted.column === column ? -sorted.direction : 1;
    sorted.column = column;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", sorted.direction > 0 ? "ascending" : "descending");
    for (const line of lines) line.keys[column] ??= keyOf(line.row.cells[column]);
    const isNumber = header.classList.contains("number");
    lines.sort((one, other) => compare(one, other, column, isNumber));
    const fragment = document.createDocumentFragment();
    for (const line of lines) fragment.append(line.row);
    body.append(fragment);
  };

  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(header, column));
    header.append(button);
  });
  table.tHead.rows[0].cells[0].setAttribute("aria-sort", "ascending");

  let waiting;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 120);
  });
  state.addEventListener("change", show);
  document.getElementById("tools").hidden = false;
})();
