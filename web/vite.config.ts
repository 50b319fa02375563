import { defineConfig } from "vite";

export default defineConfig({
  // The server replaces "./" in index.html by its base path.
  base: "./",
  build: {
    outDir: "../dist/web",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": "http://127.0.0.1:3210" } },
});
