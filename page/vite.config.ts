import { statSync } from "node:fs";
import { defineConfig } from "vite";

// The page shows how much of it is loaded; a compressed answer does not say how much there is.
const WASM = "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm";

// Plain files with relative addresses: the page runs from any folder, and from the service.
export default defineConfig({
  base: "./",
  define: { WASM_BYTES: statSync(new URL(WASM, import.meta.url)).size },
  build: {
    outDir: "../src/emofocus/serving/page",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
  },
  worker: { format: "es" },
});
