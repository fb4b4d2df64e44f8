// The graph: who reaches whom, as curves through a ring of units.

const MOST_NODES = 64;
const graphBox = document.getElementById("graph");
let edges = [];

function drawGraph(left) {
  const places = [...left].sort((one, other) => one - other);
  const count = document.getElementById("graph-count");
  edges = [];
  if (places.length === 0 || places.length > MOST_NODES) {
    count.textContent = "";
    graphBox.replaceChildren(make("p", { class: "empty" }, places.length === 0 ? "Nothing to draw."
      : `${places.length} workloads are too many to draw. Filter to ${MOST_NODES} or fewer; the matrix has them all.`));
    return;
  }
  const layout = ring(places);
  const angleOf = new Map(layout.nodes.map((node) => [node.unit, node.angle]));
  for (const from of places) {
    for (const to of places) {
      const [row, column] = [units[from].row, units[to].column];
      if (row === null || column === null) continue;
      const through = open(row, column);
      if (through.length > 0) edges.push({ from, to, row, column, through });
    }
  }
  count.textContent = many(edges.length, "flow");
  const { width, height } = layout;
  graphBox.replaceChildren(draw("svg", { viewBox: `${-width / 2} ${-height / 2} ${width} ${height}`, role: "group",
    "aria-label": `${many(places.length, "workload")} and the ${many(edges.length, "flow")} between them`,
    style: `max-width:${Math.round(width * 1.35)}px` },
  draw("defs", {}, ...layout.groups.map((group, place) => draw("path", bandLine(layout, group, place)))),
  draw("g", { class: "bands" }, ...layout.groups.map((group, place) => band(layout, group, place))),
  draw("g", { class: "edges" }, ...edges.map((edge, place) => edgeOf(layout, angleOf, edge, place))),
  draw("g", { class: "nodes" }, ...layout.nodes.map((node) => nodeOf(layout, node)))));
}

// Letters on the lower half run the other way round, or they would stand on their heads.
function bandLine(layout, group, place) {
  const middle = (group.from + group.to) / 2;
  const low = Math.sin(middle) > 0.01;
  return { id: `band-${place}`, d: arc(layout.radius + (low ? 25.5 : 18), group.from, group.to, low) };
}

function band(layout, group, place) {
  const room = (group.to - group.from) * (layout.radius + 20);
  const text = shortened(group.name === OUTSIDE ? "outside" : group.name, Math.floor(room / 6.6));
  return draw("g", { class: `band hue${group.hue}` }, draw("title", {}, group.name),
    draw("path", { class: "fill", d: arc(layout.radius + 21.5, group.from, group.to) }),
    text.length < 3 ? null : draw("text", {}, draw("textPath", { href: `#band-${place}`, startOffset: "50%" }, text)));
}

function edgeOf(layout, angleOf, edge, place) {
  const { d, tip, turn } = curve(layout, angleOf.get(edge.from), angleOf.get(edge.to));
  const partly = edge.through.every((port) => symbols(edge.row, edge.column)[port] !== ".");
  return draw("g", { class: `edge hue${hue(units[edge.from])}${partly ? " partly" : ""}`, "data-edge": place },
    draw("path", { class: "hit", d }), draw("path", { class: "seen", d }),
    draw("path", { class: "head", d: "M0.5 0-6.5 3-6.5 -3Z", transform: `translate(${spot(tip)}) rotate(${turn.toFixed(1)})` }));
}

function nodeOf(layout, { unit, angle }) {
  const line = units[unit];
  const degrees = (angle * 360) / TURN;
  const [x, y] = at(angle, layout.radius);
  const left = Math.cos(angle) < -0.001;
  const text = shortened(line.short, LONGEST);
  const [tx, ty] = at(angle, layout.radius + 36);
  const label = layout.flat
    ? { x: tx.toFixed(1), y: (ty + Math.sin(angle) * 6).toFixed(1), "text-anchor": left ? "end" : "start" }
    : { transform: `rotate(${(left ? degrees + 180 : degrees).toFixed(2)}) translate(${left ? -layout.radius - 36 : layout.radius + 36} 0)`,
      "text-anchor": left ? "end" : "start" };
  // The node turns with the ring, so that its walls are where its edges arrive and where they leave.
  const wall = (place, d) => {
    const count = line.isolated[place];
    return count === 0 ? null : draw("path", { class: `wall${count < line.pods.length ? " partly" : ""}`, d });
  };
  const said = line.namespace === null ? "" : `, ${isolation(line).join(", ")}`;
  return draw("g", { class: `node hue${hue(line)}`, "data-unit": unit, tabindex: "0", role: "button",
    "aria-label": `${line.name}${said}` },
  draw("title", {}, line.name),
  draw("g", { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(${degrees.toFixed(2)})` },
    draw("circle", { class: "hit", r: 11 }), draw("circle", { class: "dot", r: 4 }),
    wall(0, "M-4 6.4A7.6 7.6 0 0 0 4 6.4"), wall(1, "M-4 -6.4A7.6 7.6 0 0 1 4 -6.4")),
  draw("text", label, text));
}

// Marks a flow, or what a unit reaches and is reached by.
function markGraph(selection) {
  const svg = graphBox.querySelector("svg");
  if (svg === null) return;
  svg.querySelectorAll(".out, .in, .near").forEach((element) => {
    element.classList.remove("out", "in", "near");
  });
  const near = new Set();
  const marked = (edge) => {
    if (selection === null) return null;
    if ("unit" in selection) return edge.from === selection.unit ? "out" : edge.to === selection.unit ? "in" : null;
    return edge.row === selection.row && edge.column === selection.column ? "out" : null;
  };
  svg.querySelectorAll(".edge").forEach((element) => {
    const edge = edges[element.dataset.edge];
    const mark = marked(edge);
    if (mark === null) return;
    element.classList.add(mark);
    // Over the others; an edge that is pointed at must stay where it is, or the pointer would enter it anew.
    if ("unit" in selection) element.parentNode.append(element);
    near.add(edge.from).add(edge.to);
  });
  if (selection !== null && "unit" in selection) near.add(selection.unit);
  else if (selection !== null) near.add(rowUnit[selection.row]).add(columnUnit[selection.column]);
  svg.classList.toggle("marking", selection !== null);
  svg.querySelectorAll(".node").forEach((node) => node.classList.toggle("near", near.has(Number(node.dataset.unit))));
}

function wireGraph(point, pin) {
  const selected = (target) => {
    const edge = target.closest?.(".edge");
    if (edge) return { row: edges[edge.dataset.edge].row, column: edges[edge.dataset.edge].column };
    const node = target.closest?.(".node");
    return node ? { unit: Number(node.dataset.unit) } : null;
  };
  graphBox.addEventListener("pointerover", (event) => point(selected(event.target)));
  graphBox.addEventListener("pointerleave", () => point(null));
  graphBox.addEventListener("focusin", (event) => point(selected(event.target)));
  graphBox.addEventListener("focusout", () => point(null));
  graphBox.addEventListener("click", (event) => {
    const selection = selected(event.target);
    if (selection !== null) pin(selection);
  });
  graphBox.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    pin(selected(event.target));
    event.preventDefault();
  });
}
