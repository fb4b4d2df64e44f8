// What the page was told, and what it comes to for the ports that are looked at.

const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const columns = data.columns ?? data.rows;
const ports = data.ports.map(([protocol, number]) => `${protocol} ${number}`);

const MEANING = {
  ".": { word: "allowed", kind: "allowed" },
  "X": { word: "denied", kind: "denied" },
  "~": { word: "allowed in part", kind: "part" },
  "4": { word: "over IPv4 only", kind: "family" },
  "6": { word: "over IPv6 only", kind: "family" },
  "-": { word: "the pod itself", kind: "itself" },
  " ": { word: "no way between them", kind: "none" },
};

// What is looked at: a place in `ports`, or null for all of them; the words of the filter.
const state = { port: null, words: [], neighbours: true };

const symbols = (row, column) => data.patterns[data.grid[row][column]][0];
const reasons = (row, column) => data.patterns[data.grid[row][column]][1];
const passes = (symbol) => symbol === "." || symbol === "~" || symbol === "4" || symbol === "6";

// Whether the ports that are looked at do not all have the same symbol.
function isMixed(row, column) {
  const all = symbols(row, column);
  return state.port === null && [...all].some((one) => one !== all[0]);
}

// One symbol for the ports that are looked at.
function symbol(row, column) {
  const all = symbols(row, column);
  if (state.port !== null) return all[state.port];
  return isMixed(row, column) ? "~" : all[0];
}

// How a cell is painted: a port that is open to all is told from one that is open to some pods.
function kindOf(row, column) {
  const clear = [...symbols(row, column)].every((one) => one === "." || one === "X");
  return isMixed(row, column) && clear ? "some" : MEANING[symbol(row, column)].kind;
}

// The places of the ports that pass, among those that are looked at.
function open(row, column) {
  const all = symbols(row, column);
  const places = state.port === null ? [...all].map((_, port) => port) : [state.port];
  return places.filter((port) => passes(all[port]));
}

// `TCP 80, 443 · UDP 53`
function listed(places) {
  const numbers = new Map();
  for (const place of places) {
    const [protocol, number] = data.ports[place];
    numbers.set(protocol, [...(numbers.get(protocol) ?? []), number]);
  }
  return [...numbers].map(([protocol, list]) => `${protocol} ${list.join(", ")}`).join(" \u00b7 ");
}

// Every unit once, whether it sends, receives or both; by name, since a filter on the command line may have left it
// with fewer pods on one side.
const units = [];
const unitOf = new Map();
for (const [side, lines] of [["row", rows], ["column", columns]]) {
  lines.forEach((line, place) => {
    if (!unitOf.has(line.name)) {
      unitOf.set(line.name, units.length);
      units.push({ ...line, row: null, column: null });
    }
    units[unitOf.get(line.name)][side] = place;
  });
}
const rowUnit = rows.map((line) => unitOf.get(line.name));
const columnUnit = columns.map((line) => unitOf.get(line.name));

const OUTSIDE = "outside the cluster";
const namespaceOf = (line) => line.namespace ?? OUTSIDE;
const namespaces = [...new Set(units.map(namespaceOf))];
const HUES = 8;
const hue = (line) => namespaces.indexOf(namespaceOf(line)) % HUES;

// The places in `units` that the filter leaves: those with any of its words, and their peers if wanted.
function visible() {
  if (state.words.length === 0) return new Set(units.keys());
  const hit = (unit) => {
    const text = `${unit.name} ${namespaceOf(unit)}`.toLowerCase();
    return state.words.some((word) => text.includes(word));
  };
  const found = new Set([...units.keys()].filter((place) => hit(units[place])));
  if (!state.neighbours) return found;
  const peers = new Set(found);
  for (let row = 0; row < rows.length; row++) {
    for (let column = 0; column < columns.length; column++) {
      const [from, to] = [rowUnit[row], columnUnit[column]];
      if (found.has(from) === found.has(to) || open(row, column).length === 0) continue;
      peers.add(from).add(to);
    }
  }
  return peers;
}

// An element with attributes and children; texts are never read as markup.
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
