// Where the graph's parts go: units on a ring, those of a namespace side by side. Nothing but arithmetic, so that one
// input has one picture.

const TURN = 2 * Math.PI;
const LETTER = 6.7;
const LONGEST = 26;

const shortened = (text, letters) => (text.length <= letters ? text : `${text.slice(0, Math.max(letters - 1, 0))}\u2026`);
const at = (angle, radius) => [Math.cos(angle) * radius, Math.sin(angle) * radius];
const spot = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;

// The ring of some units: {radius, width, height, flat, nodes: [{unit, angle}], groups: [{name, from, to}]}.
function ring(places) {
  const gap = 0.6;
  const groups = [...new Set(places.map((place) => namespaceOf(units[place])))];
  const steps = places.length + (groups.length > 1 ? gap * groups.length : 0);
  const radius = Math.max(118, (steps * 19) / TURN);
  const nodes = [];
  const bands = [];
  let step = 0;
  for (const name of groups) {
    const members = places.filter((place) => namespaceOf(units[place]) === name);
    // The ring begins at the top.
    const angle = (position) => ((position + (groups.length > 1 ? gap / 2 : 0)) / steps) * TURN - TURN / 4;
    bands.push({ name, hue: hue(units[members[0]]), from: angle(step + 0.06), to: angle(step + members.length - 0.06) });
    members.forEach((unit, place) => nodes.push({ unit, angle: angle(step + place + 0.5) }));
    step += members.length + (groups.length > 1 ? gap : 0);
  }
  // Labels lie flat while there is room for them.
  const flat = places.length <= 22;
  const longest = Math.min(Math.max(...places.map((place) => units[place].short.length), 4), LONGEST) * LETTER;
  const [width, height] = [radius + 44 + longest, radius + (flat ? 62 : 44 + longest)];
  return { radius, width: 2 * width, height: 2 * height, flat, nodes, groups: bands };
}

// A flow as a curve through the ring: it leaves on one side of a node and arrives on the other, so that two ways between
// two nodes do not lie on each other.
function curve(ring, from, to) {
  const inner = ring.radius - 11;
  const aside = 4.5 / ring.radius;
  const [start, end] = [at(from + aside, inner), at(to - aside, inner)];
  if (from === to) {
    const wide = 22 / ring.radius;
    return bend(start, at(from + wide, inner - 34), at(from - wide, inner - 34), end);
  }
  const apart = Math.abs(((from - to + 3 * Math.PI) % TURN) - Math.PI) / Math.PI;
  // Neighbours bend a little, opposite nodes pass near the middle.
  const depth = inner * (0.72 - 0.6 * Math.sqrt(apart));
  return bend(start, at(from + aside, depth), at(to - aside, depth), end);
}

// A curve by its four points, and where its head is: at the end, in the direction of the last of it.
function bend(start, first, second, end) {
  const turn = (Math.atan2(end[1] - second[1], end[0] - second[0]) * 360) / TURN;
  return { d: `M${spot(start)}C${spot(first)} ${spot(second)} ${spot(end)}`, tip: end, turn };
}

// A part of a circle; clockwise unless `back`.
function arc(radius, from, to, back = false) {
  const large = to - from > Math.PI ? 1 : 0;
  const [first, last] = back ? [to, from] : [from, to];
  return `M${spot(at(first, radius))}A${radius} ${radius} 0 ${large} ${back ? 0 : 1} ${spot(at(last, radius))}`;
}
