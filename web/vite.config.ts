import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const COMPRESSED = /\.(html|js|css|svg)$/;
const WORTH_COMPRESSING_BYTES = 512;

/** A .gz and a .br beside each file, so that the server compresses nothing while somebody waits. */
function compressed(): Plugin {
  return {
    name: "compressed",
    writeBundle({ dir }) {
      if (dir === undefined) return;
      for (const name of readdirSync(dir, { recursive: true, encoding: "utf-8" })) {
        if (!COMPRESSED.test(name)) continue;
        const path = join(dir, name);
        const bytes = readFileSync(path);
        if (bytes.length < WORTH_COMPRESSING_BYTES) continue;
        writeFileSync(path + ".gz", gzipSync(bytes, { level: 9 }));
        const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
        writeFileSync(path + ".br", brotliCompressSync(bytes, { params }));
      }
    },
  };
}

export default defineConfig({
  base: "./", // the pages do not know where they are served: any domain, any prefix
  plugins: [compressed()],
  build: {
    target: "es2022",
    manifest: "manifest.json",
    sourcemap: false,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
    rollupOptions: {
      input: { index: resolve(import.meta.dirname, "index.html"), tower: resolve(import.meta.dirname, "tower.html") },
      output: {
        // three in a file of its own: it stays in caches when the scene changes.
        manualChunks: (id: string) => (id.includes("node_modules/three/") ? "three" : undefined),
      },
    },
  },
});
