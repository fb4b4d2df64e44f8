// The page as a whole: what is chosen, what is pointed at, what is kept.

let pointed = null;
let pinned = null;

const same = (one, other) => one === other || JSON.stringify(one) === JSON.stringify(other);

function mark() {
  const shown = pinned ?? pointed;
  explain(shown, pinned !== null);
  markMatrix(shown);
  markGraph(shown);
}

function point(selection) {
  if (same(selection, pointed)) return;
  pointed = selection;
  if (pinned === null) mark();
}

// A second click lets go.
function pin(selection) {
  pinned = same(selection, pinned) ? null : selection;
  mark();
}

function redraw() {
  const left = visible();
  drawMatrix(left);
  drawGraph(left);
  mark();
}

function counts() {
  const workloads = units.filter((unit) => unit.namespace !== null);
  const pods = new Set(workloads.flatMap((unit) => unit.pods.map((pod) => `${unit.namespace}/${pod}`)));
  const outside = units.length - workloads.length;
  const parts = [many(workloads.length, "workload"), many(pods.size, "pod"), many(ports.length, "port"),
    data.policies === 1 ? "1 policy" : `${data.policies} policies`];
  if (outside > 0) parts.push(many(outside, "block") + " of addresses outside");
  document.getElementById("counts").textContent = parts.join(" \u00b7 ");
}

function legend() {
  const used = new Set(data.patterns.flatMap(([found]) => [...found]));
  const meanings = { ".": "allowed", "X": "denied", "~": "between some of the pods", "4": "IPv4 only", "6": "IPv6 only",
    "-": "the pod itself", " ": "no way" };
  const wanted = Object.keys(meanings).filter((found) => ".X".includes(found) || used.has(found));
  const items = wanted.map((found) => make("li", {}, chip(found), meanings[found]));
  if (ports.length > 1) items.splice(1, 0, make("li", {}, chip("~", "some"), "on some of the ports"));
  document.getElementById("legend").replaceChildren(...items);
  const sample = (...children) => draw("svg", { viewBox: "-9 -9 18 18", class: "sample", "aria-hidden": "true" }, ...children);
  const dot = () => draw("circle", { class: "dot", r: 4 });
  const line = (name) => draw("path", { class: `seen ${name}`, d: "M-8 0H8" });
  document.getElementById("graph-legend").replaceChildren(
    make("li", {}, sample(dot(), draw("path", { class: "wall", d: "M-6.4 -4A7.6 7.6 0 0 0 -6.4 4" })), "isolated for ingress"),
    make("li", {}, sample(dot(), draw("path", { class: "wall", d: "M6.4 -4A7.6 7.6 0 0 1 6.4 4" })), "for egress"),
    make("li", {}, sample(line("out")), "reaches"),
    make("li", {}, sample(line("in")), "is reached by"),
  );
}

function theme() {
  const button = document.getElementById("theme");
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen === undefined ? matchMedia("(prefers-color-scheme: dark)").matches : chosen === "dark";
  };
  const say = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    say();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
  say();
}

function controls() {
  const port = document.getElementById("port");
  port.append(make("option", { value: "" }, ports.length === 1 ? ports[0] : "all ports"),
    ...(ports.length === 1 ? [] : ports.map((name, place) => make("option", { value: place }, name))));
  port.addEventListener("change", () => {
    state.port = port.value === "" ? null : Number(port.value);
    redraw();
  });
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    state.words = filter.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    redraw();
  });
  const neighbours = document.getElementById("neighbours");
  neighbours.addEventListener("change", () => {
    state.neighbours = neighbours.checked;
    redraw();
  });
  // What a browser may have kept from before is no choice.
  document.getElementById("controls").reset();
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  const views = document.querySelectorAll("button[data-view]");
  views.forEach((button) => button.addEventListener("click", () => {
    document.body.dataset.view = button.dataset.view;
    views.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
  }));
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && pinned !== null) pin(pinned);
});
panel.addEventListener("click", (event) => {
  if (event.target.closest("#unpin")) pin(pinned);
  const peer = event.target.closest(".peer");
  if (peer !== null) pin(placeOf(peer));
});

counts();
legend();
theme();
controls();
wireMatrix(point, pin);
wireGraph(point, pin);
redraw();
