// The cache of experts: how often the chosen ones were there, what was moved, what it cost.

import { makeTile, updateTile } from "./activity.js";
import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import { bytes, count, percent, plural, rate } from "./format.js";
import { Rate } from "./rates.js";

export class Experts {
  constructor() {
    this.hits = new Rate();
    this.misses = new Rate();
    this.uploads = new Rate();
    this.lost = new Rate();
  }

  update(experts, now) {
    byId("experts").hidden = !experts;
    if (!experts) return;
    keyed(byId("expert-tiles"), this.tiles(experts, now), (tile) => tile.name, makeTile, updateTile);
    setText(byId("expert-slots"), `${plural(experts.n_slots, "slot")} for ${plural(experts.layers.length, "layer")}`);
    updateLayers(experts.layers);
  }

  tiles(experts, now) {
    const { n_hits, n_misses, uploaded_bytes, n_copied, copied_bytes, wait_s, upload_s } = experts;
    const [hits, misses] = [this.hits.note(now, n_hits), this.misses.note(now, n_misses)];
    const uploads = this.uploads.note(now, uploaded_bytes);
    const lost = this.lost.note(now, wait_s + upload_s);
    return [
      {
        name: "Hit rate",
        value: n_hits + n_misses ? percent(n_hits, n_hits + n_misses) : "–",
        of: `of ${plural(n_hits + n_misses, "choice")}`,
        more: hits + misses > 0 ? `${percent(hits, hits + misses)} of late` : "",
      },
      {
        name: "Uploaded",
        value: bytes(uploaded_bytes),
        of: plural(n_misses, "expert"),
        more: uploads > 0 ? `${bytes(uploads)}/s` : "",
      },
      {
        name: "Time lost",
        value: rate(wait_s + upload_s),
        of: "s",
        more: lost > 0 ? `${percent(lost, 1)} of the time` : `${rate(wait_s)} waiting, ${rate(upload_s)} uploading`,
      },
      ...(n_copied ? [{ name: "Read by long prompts", value: bytes(copied_bytes), of: plural(n_copied, "expert") }] : []),
    ];
  }
}

function updateLayers(layers) {
  const rates = layers.map(({ n_hits, n_misses }) => n_hits / Math.max(n_hits + n_misses, 1));
  const summary = `Layers ${layers[0].layer} to ${layers.at(-1).layer}: ${share(Math.min(...rates))} to ${share(Math.max(...rates))}`;
  setAttribute(byId("expert-layers"), "role", "img");
  setAttribute(byId("expert-layers"), "aria-label", summary);
  keyed(byId("expert-layers"), layers, (row) => row.layer, makeLayer, updateLayer);
}

function share(part) {
  return percent(part, 1);
}

function makeLayer() {
  return element("div", {}, element("div"));
}

function updateLayer(column, row) {
  const n = row.n_hits + row.n_misses;
  column.firstElementChild.style.height = `${n ? (100 * row.n_hits) / n : 0}%`;
  const lost = `${rate(row.wait_s)} s waiting, ${rate(row.upload_s)} s uploading`;
  const title = `Layer ${row.layer} on ${row.device}: ${percent(row.n_hits, n)} of ${count(n)}, ${bytes(row.uploaded_bytes)} uploaded, ${lost}`;
  if (column.title !== title) column.title = title;
}
