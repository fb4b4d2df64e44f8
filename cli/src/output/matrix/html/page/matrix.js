// The matrix: a table, of which one cell at a time is in the order of the tab key.

const matrixBox = document.getElementById("matrix");
let shownRows = [];
let shownColumns = [];
let current = null;
// How many of the rows are in the table. A browser needs long for a hundred thousand cells, so that those further down
// are drawn when somebody goes there.
let drawn = 0;
const BATCH = 12000;

function drawMatrix(left) {
  shownRows = [...rows.keys()].filter((row) => left.has(rowUnit[row]));
  shownColumns = [...columns.keys()].filter((column) => left.has(columnUnit[column]));
  document.getElementById("matrix-count").textContent =
    shownRows.length === rows.length && shownColumns.length === columns.length
      ? "" : `${shownRows.length} of ${many(rows.length, "row")}, ${shownColumns.length} of ${many(columns.length, "column")}`;
  if (shownRows.length === 0 || shownColumns.length === 0) {
    matrixBox.replaceChildren(make("p", { class: "empty" }, rows.length === 0 ? "No pods." : "Nothing has that name."));
    return;
  }
  const table = make("table", { role: "grid", "aria-rowcount": shownRows.length, "aria-label": "Who reaches whom, from the row to the column" },
    make("thead", {}, headings()));
  drawn = 0;
  drawRows(table, BATCH / shownColumns.length);
  const scroll = matrixBox.firstElementChild;
  const [top, side] = scroll === null ? [0, 0] : [scroll.scrollTop, scroll.scrollLeft];
  const box = make("div", { class: "scroll" }, table);
  box.addEventListener("scroll", () => {
    const below = box.scrollHeight - box.scrollTop - box.clientHeight;
    if (below < 600) drawRows(table, drawn + BATCH / shownColumns.length);
  });
  matrixBox.replaceChildren(box);
  box.scrollTo(side, top);
  const first = cellAt(current) ?? table.querySelector("td");
  enter(first, false);
}

// Draws the rows up to a place among those that are shown, and a whole one at least.
function drawRows(table, end) {
  for (let first = drawn; drawn < shownRows.length && (drawn < end || drawn === first); drawn++) {
    const [row, before] = [shownRows[drawn], shownRows[drawn - 1]];
    if (drawn === 0 || namespaceOf(rows[before]) !== namespaceOf(rows[row])) {
      const name = make("span", {}, namespaceOf(rows[row]));
      const heading = make("th", { class: `group hue${hue(rows[row])}`, scope: "rowgroup", colspan: shownColumns.length + 1 }, name);
      table.append(make("tbody", {}, make("tr", { role: "row" }, heading)));
    }
    table.lastElementChild.append(line(row));
  }
}

function headings() {
  const tr = make("tr", { role: "row" }, make("th", { class: "corner" }));
  shownColumns.forEach((column, at) => {
    const unit = columns[column];
    const starts = at > 0 && namespaceOf(columns[shownColumns[at - 1]]) !== namespaceOf(unit);
    tr.append(make("th", { scope: "col", class: `top hue${hue(unit)}${starts ? " starts" : ""}`, title: unit.name,
      "data-column": column }, make("span", {}, unit.namespace === null ? null : make("span", { class: "soft" }, `${unit.namespace}/`),
      unit.short)));
  });
  return tr;
}

function line(row) {
  const unit = rows[row];
  const count = unit.pods.length > 1 ? make("span", { class: "soft" }, ` \u00d7${unit.pods.length}`) : null;
  const tr = make("tr", { role: "row" }, make("th", { scope: "row", "data-row": row, title: unit.name },
    make("span", {}, unit.kind === null ? null : make("span", { class: "soft kind" }, unit.kind), unit.short, count)));
  shownColumns.forEach((column, at) => {
    const found = symbol(row, column);
    const starts = at > 0 && namespaceOf(columns[shownColumns[at - 1]]) !== namespaceOf(columns[column]);
    const kind = kindOf(row, column);
    const td = make("td", { role: "gridcell", class: `${kind}${starts ? " starts" : ""}`, "data-row": row,
      "data-column": column, tabindex: "-1" }, make("span", {}, found));
    // How many of the ports pass, where not all cells of it are alike.
    if (found === "~" && isMixed(row, column)) {
      td.style.setProperty("--share", `${Math.round((100 * open(row, column).length) / ports.length)}%`);
      td.classList.add("share");
    }
    tr.append(td);
  });
  return tr;
}

const cellAt = (place) =>
  place === null ? null : matrixBox.querySelector(`td[data-row="${place.row}"][data-column="${place.column}"]`);
const placeOf = (element) => ({ row: Number(element.dataset.row), column: Number(element.dataset.column) });

// Makes a cell the one that the tab key leads to, and says what it is.
function enter(cell, focus) {
  if (cell === null) return;
  matrixBox.querySelectorAll('td[tabindex="0"]').forEach((other) => other.setAttribute("tabindex", "-1"));
  current = placeOf(cell);
  const { row, column } = current;
  const through = open(row, column);
  const some = state.port === null && through.length > 0 && through.length < ports.length ? ` on ${listed(through)}` : "";
  cell.setAttribute("aria-label", `${rows[row].name} to ${columns[column].name}: ${MEANING[symbol(row, column)].word}${some}`);
  cell.setAttribute("tabindex", "0");
  if (focus) cell.focus();
}

// Where an arrow key leads.
function step(key) {
  const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -1e9], End: [0, 1e9] }[key];
  const within = (list, at, by) => list[Math.min(Math.max(list.indexOf(at) + by, 0), list.length - 1)];
  const row = within(shownRows, current.row, down);
  if (shownRows.indexOf(row) >= drawn) drawRows(matrixBox.querySelector("table"), shownRows.indexOf(row) + 1);
  return { row, column: within(shownColumns, current.column, right) };
}

// Marks a flow, or all flows of a unit.
function markMatrix(selection) {
  matrixBox.querySelectorAll(".picked, .line").forEach((element) => element.classList.remove("picked", "line"));
  if (selection === null) return;
  const { row, column } = "unit" in selection ? units[selection.unit] : selection;
  matrixBox.querySelector(`th[data-row="${row}"]`)?.classList.add("line");
  matrixBox.querySelector(`th[data-column="${column}"]`)?.classList.add("line");
  if (!("unit" in selection)) cellAt(selection)?.classList.add("picked");
}

function wireMatrix(point, pin) {
  const selected = (target) => {
    const cell = target.closest?.("td, th[data-row], th[data-column]");
    if (!cell) return null;
    if (cell.tagName === "TD") return placeOf(cell);
    return { unit: cell.dataset.row === undefined ? columnUnit[cell.dataset.column] : rowUnit[cell.dataset.row] };
  };
  matrixBox.addEventListener("pointerover", (event) => point(selected(event.target)));
  matrixBox.addEventListener("pointerleave", () => point(null));
  matrixBox.addEventListener("focusin", (event) => {
    const cell = event.target.closest("td");
    if (cell === null) return;
    enter(cell, false);
    point(placeOf(cell));
  });
  matrixBox.addEventListener("focusout", () => point(null));
  matrixBox.addEventListener("click", (event) => {
    const selection = selected(event.target);
    if (selection === null) return;
    if (!("unit" in selection)) enter(cellAt(selection), true);
    pin(selection);
  });
  matrixBox.addEventListener("keydown", (event) => {
    if (event.target.closest("td") === null) return;
    if (event.key === "Enter" || event.key === " ") pin(current);
    else if (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") enter(cellAt(step(event.key)), true);
    else return;
    event.preventDefault();
  });
}
