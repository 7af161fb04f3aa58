import { defineConfig } from "vite";

// Plain files with relative addresses: the page runs from any folder, and from the service.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/emofocus/serving/page",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
  },
  worker: { format: "es" },
});
