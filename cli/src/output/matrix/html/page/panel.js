// The panel: why a cell is what it is, or whom a workload reaches.

const panel = document.getElementById("panel");

function spelled(line) {
  const kind = line.kind === null ? "" : `${line.kind}/`;
  const prefix = line.namespace === null ? "" : `${line.namespace}/`;
  return make("span", { class: "name" }, make("span", { class: "soft" }, prefix + kind), line.short);
}

const chip = (symbol, kind = MEANING[symbol].kind) =>
  make("span", { class: `chip ${kind}`, "aria-hidden": "true" }, make("span", {}, symbol));

function heading(content, pinned) {
  const unpin = make("button", { type: "button", class: "quiet", id: "unpin" }, "Unpin");
  return make("h2", {}, make("span", { class: "flow" }, ...content), pinned ? unpin : null);
}

const explainers = {
  none: () => {
    panel.replaceChildren(
      make("h2", {}, "Reasons"),
      make("p", { class: "soft" }, "Point at a cell, an edge or a workload to see why it is so. A click keeps it here."),
    );
  },

  flow: ({ row, column }, pinned) => {
    const [from, to] = [rows[row], columns[column]];
    const arrow = make("span", { class: "arrow", "aria-label": "to" }, "\u2192");
    const groups = portsByReason(row, column).map(([symbol, reason, places]) =>
      make("div", { class: "reason" },
        make("h3", {}, chip(symbol), make("span", {}, listed(places)), make("span", { class: "soft" }, MEANING[symbol].word)),
        ...why(from, to, data.reasons[reason]),
      ));
    panel.replaceChildren(heading([spelled(from), arrow, spelled(to)], pinned), make("div", { class: "reasons" }, ...groups));
  },

  unit: ({ unit }, pinned) => {
    const line = units[unit];
    const facts = line.namespace === null ? ["addresses outside the cluster"] : [
      many(line.pods.length, "pod"), ...isolation(line),
    ];
    const [reached, reaching] = [peers(line, "row"), peers(line, "column")];
    panel.replaceChildren(
      heading([spelled(line)], pinned),
      make("p", { class: "soft" }, facts.join(" \u00b7 ")),
      make("div", { class: "peers" },
        make("div", {}, make("h3", {}, `Reaches ${reached.length}`), ...reached),
        make("div", {}, make("h3", {}, `Is reached by ${reaching.length}`), ...reaching),
      ),
    );
  },
};

// [symbol, reason, ports], with what passes first.
function portsByReason(row, column) {
  const groups = new Map();
  const [all, why] = [symbols(row, column), reasons(row, column)];
  for (let port = 0; port < all.length; port++) {
    if (state.port !== null && state.port !== port) continue;
    const key = `${all[port]}${why[port]}`;
    if (!groups.has(key)) groups.set(key, [all[port], why[port], []]);
    groups.get(key)[2].push(port);
  }
  return [...groups.values()].sort((one, other) => passes(other[0]) - passes(one[0]));
}

function why(from, to, cases) {
  if (cases.length === 0) {
    const strangers = from.namespace === null && to.namespace === null;
    return [make("p", {}, strangers ? "both are outside the cluster" : "they have no address family in common")];
  }
  return cases.map((found) => {
    const several = cases.length > 1 || from.pods.length > 1 || to.pods.length > 1;
    const [source, target] = [from.pods[found.pods[0]] ?? from.short, to.pods[found.pods[1]] ?? to.short];
    const family = found.family === undefined ? "" : ` over ${found.family}`;
    const outcome = cases.length > 1 ? (found.allowed ? " passes" : " is denied") : "";
    const example = cases.length > 1 ? "" : "for example ";
    const texts = found.texts.map((text) => data.texts[text]);
    const lines = texts.length === 1
      ? [make("p", {}, texts[0])]
      : ["egress", "ingress"].map((direction, place) =>
        make("p", {}, make("b", { class: "direction" }, direction), make("span", {}, texts[place])));
    const who = several || family !== ""
      ? make("p", { class: "soft example" }, `${example}${source} \u2192 ${target}${family}${outcome}`) : null;
    return make("div", { class: "case" }, ...(cases.length > 1 ? [who, ...lines] : [...lines, who]).filter(Boolean));
  });
}

function isolation(line) {
  if (line.host_network) return ["on the node's own network, where no policy speaks for them"];
  return ["egress", "ingress"].map((direction, place) => {
    const count = line.isolated[place];
    if (count === 0) return `not isolated for ${direction}`;
    return count === line.pods.length ? `isolated for ${direction}` : `${count} isolated for ${direction}`;
  });
}

function peers(line, side) {
  if (line[side] === null) return [];
  const places = side === "row" ? columns.keys() : rows.keys();
  const found = [];
  for (const place of places) {
    const [row, column] = side === "row" ? [line.row, place] : [place, line.column];
    const through = open(row, column);
    if (through.length === 0) continue;
    const everything = state.port === null && through.length === ports.length;
    found.push(make("button", { type: "button", class: "peer", "data-row": row, "data-column": column },
      spelled(side === "row" ? columns[place] : rows[place]),
      make("span", { class: "soft" }, everything ? "all ports" : listed(through))));
  }
  return found;
}

// Shows a selection: {row, column}, {unit} or null.
function explain(selection, pinned) {
  const kind = selection === null ? "none" : "unit" in selection ? "unit" : "flow";
  panel.classList.toggle("pinned", pinned);
  explainers[kind](selection, pinned);
}
