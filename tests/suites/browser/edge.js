// A place on the edge of a cell's flow that is not below another edge.
const { row, column } = document.querySelector('CELL').dataset;
document.querySelector('CELL').dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
const edge = document.querySelector("#graph .edge.out");
document.querySelector("#matrix").dispatchEvent(new PointerEvent("pointerleave"));
if (edge === null) return `no flow of ${row} and ${column}`;
const path = edge.querySelector(".hit");
const matrix = path.getScreenCTM();
for (let part = 0.05; part < 1; part += 0.01) {
  const point = path.getPointAtLength(path.getTotalLength() * part).matrixTransform(matrix);
  const [x, y] = [Math.round(point.x), Math.round(point.y)];
  if (document.elementFromPoint(x, y)?.closest(".edge") === edge) return [x, y];
}
return "it is hidden";
