// What Vite leaves to be done: Swagger UI for /docs, compressed copies, and the list of files that work offline.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const PAGE = new URL("../src/emofocus/serving/page/", import.meta.url);
const SWAGGER = new URL("node_modules/swagger-ui-dist/", import.meta.url);
const COMPRESSED = /\.(js|css|wasm|html|svg|json|onnx)$/;
const LEAST_BYTES = 1024;
const LEAST_SAVING = 0.05;

mkdirSync(new URL("docs/", PAGE), { recursive: true });
for (const name of ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "LICENSE"]) {
  copyFileSync(new URL(name, SWAGGER), new URL(`docs/${name}`, PAGE));
}

const files = readdirSync(PAGE, { recursive: true })
  .filter((name) => statSync(new URL(name, PAGE)).isFile() && !name.endsWith(".gz"))
  .sort();

// The service worker keeps the page, not the description of calls; its own text changes with any of them.
const kept = files.filter((name) => !name.startsWith("docs/") && name !== "sw.js" && name !== "index.html");
const version = createHash("sha256");
for (const name of [...kept, "index.html"]) version.update(name).update(readFileSync(new URL(name, PAGE)));
const worker = readFileSync(new URL("sw.js", PAGE), "utf8");
const text = worker.replace("__VERSION__", version.digest("hex").slice(0, 16)).replace('["__FILES__"]', JSON.stringify(["./", ...kept]));
writeFileSync(new URL("sw.js", PAGE), text);

for (const name of files) {
  const bytes = readFileSync(new URL(name, PAGE));
  if (!COMPRESSED.test(name) || bytes.length < LEAST_BYTES) continue;
  const packed = gzipSync(bytes, { level: 9 });
  if (packed.length < (1 - LEAST_SAVING) * bytes.length) writeFileSync(new URL(`${name}.gz`, PAGE), packed);
}
