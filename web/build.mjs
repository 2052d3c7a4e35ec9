// Bundles web/src into agent/server/page, or into the folder named as argument.
// The result is committed: who installs the wheel or runs `make run` needs neither Node nor a network.

import { build } from "esbuild";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";

const HERE = import.meta.dirname;
const REASONS = "../agent/control/site/reasons.pt-BR.json"; // the words of `uicps-agent control explain`
const OUT = process.argv[2] ?? join(HERE, "..", "agent", "server", "page");

/** SHA-256 over all that the build is made from; tests/page/test_build.py makes the same without Node. */
function fingerprint() {
  const sources = readdirSync(join(HERE, "src"), { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => relative(HERE, join(each.parentPath, each.name)).split(sep).join("/"));
  const hash = createHash("sha256");
  for (const name of [...sources, REASONS, "build.mjs", "package-lock.json"].sort()) {
    hash.update(`${name}\0`).update(readFileSync(join(HERE, name))).update("\0");
  }
  return hash.digest("hex");
}

const license = readFileSync(join(HERE, "node_modules", "uplot", "LICENSE"), "utf8").trim();
const banner = `/* Built from web/, do not edit: ${fingerprint()}\n\nContains uPlot:\n${license}\n*/`;

mkdirSync(OUT, { recursive: true });
await build({
  entryPoints: [join(HERE, "src", "app.js"), join(HERE, "src", "style.css")],
  outdir: OUT,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome100", "firefox102", "safari15.4"],
  charset: "utf8",
  legalComments: "none",
  banner: { js: banner, css: banner },
  logLevel: "warning",
});
for (const name of ["index.html", "icon.svg"]) copyFileSync(join(HERE, "src", name), join(OUT, name));
writeFileSync(join(OUT, "README"), "Built from web/ by `make page`; do not edit.\n");
