/** The house's rules, held by a test: who imports whom, sizes, banned names. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
const TOP = ["shared", "agent", "coordinator", "packaging", "test"];
const MAX_LINES = 500;

const sources = TOP.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return { file: relative(root, path), text: readFileSync(path, "utf8") };
    }),
);
const isTest = (file: string) => /\.(test|fixture)\.ts$/.test(file) || file.startsWith("test/");
const product = sources.filter((s) => !isTest(s.file));

type Import = { from: string; target: string };
const importsOf = ({ file, text }: { file: string; text: string }): Import[] =>
  [...text.matchAll(/(?:^|\n)(?:import|export)[^;"]*?from\s+"([^"]+)"|import\("([^"]+)"\)/g)].map(
    (m) => {
      const spec = m[1] ?? m[2] ?? "";
      const target = spec.startsWith(".")
        ? relative(root, resolve(root, dirname(file), spec))
        : spec;
      return { from: file, target };
    },
  );
const allImports = product.flatMap(importsOf);
const roomOf = (file: string) => {
  const parts = file.split("/");
  return parts.length > 2 ? parts.slice(0, 2).join("/") : parts[0];
};
const broken = (rule: (i: Import) => boolean) =>
  allImports.filter(rule).map((i) => `${i.from} imports ${i.target}`);

describe("architecture: who may import whom", () => {
  test("shared imports only itself and packages", () => {
    expect(
      broken(
        (i) => i.from.startsWith("shared/") && /^(agent|coordinator|packaging)\//.test(i.target),
      ),
    ).toEqual([]);
  });

  test("the sides never import each other", () => {
    expect(
      broken(
        (i) =>
          (i.from.startsWith("agent/") && i.target.startsWith("coordinator/")) ||
          (i.from.startsWith("coordinator/") && i.target.startsWith("agent/")),
      ),
    ).toEqual([]);
  });

  test("nothing of the product imports test or packaging", () => {
    expect(
      broken(
        (i) =>
          i.target.startsWith("test/") ||
          (i.target.startsWith("packaging/") && !i.from.startsWith("packaging/")),
      ),
    ).toEqual([]);
  });

  // Tools without a step of the way of their own: rooms may use them, they know no room.
  const LIBRARIES = ["coordinator/tensors"];

  test("rooms do not import one another (a star around the conductor; libraries aside)", () => {
    const side = (f: string) => f.startsWith("agent/") || f.startsWith("coordinator/");
    expect(
      broken(
        (i) =>
          side(i.from) &&
          side(i.target) &&
          i.from.split("/").length > 2 &&
          i.target.split("/").length > 2 &&
          !LIBRARIES.includes(roomOf(i.target) ?? "") &&
          roomOf(i.from) !== roomOf(i.target),
      ),
    ).toEqual([]);
  });

  test("in the mesh, decisions know no disk and no network, and the disk knows no network", () => {
    const inner = ["transfer", "store", "wire"].map((part) => `agent/mesh/${part}/`);
    const reaches = (from: number, target: number) => (i: Import) =>
      i.from.startsWith(inner[from] ?? "-") && i.target.startsWith(inner[target] ?? "-");
    expect(broken(reaches(0, 1))).toEqual([]);
    expect(broken(reaches(0, 2))).toEqual([]);
    expect(broken(reaches(1, 2))).toEqual([]);
  });

  test("relative imports end in .ts", () => {
    expect(
      broken((i) => !i.target.endsWith(".ts") && TOP.some((t) => i.target.startsWith(`${t}/`))),
    ).toEqual([]);
  });
});

describe("architecture: packages that touch the world", () => {
  const OWNERS: Record<string, RegExp> = {
    ws: /^(agent\/link\/ws-transport|coordinator\/gateway\/ws-server)\.ts$/,
    msgpackr: /^shared\/protocol\/codec\.ts$/,
    systeminformation: /^agent\/observe\/host\.ts$/,
    "onnxruntime-node": /^(agent\/affinity|coordinator\/tensors)\/session\.ts$/,
    yaml: /^shared\/config\.ts$/,
    pino: /^shared\/runtime\/log\.ts$/,
    "prom-client": /^shared\/runtime\/metrics\.ts$/,
    "node:sqlite": /^coordinator\/store\/open\.ts$/,
    libp2p: /^agent\/mesh\/wire\/node\.ts$/,
    aws4fetch: /^agent\/sources\/s3\.ts$/,
    "fast-xml-parser": /^agent\/sources\/s3\.ts$/,
    "@chainsafe/libp2p-gossipsub": /^agent\/mesh\/wire\/node\.ts$/,
  };
  for (const [name, owner] of Object.entries(OWNERS))
    test(`${name} has one importer a side`, () => {
      expect(
        broken(
          (i) => (i.target === name || i.target.startsWith(`${name}/`)) && !owner.test(i.from),
        ),
      ).toEqual([]);
    });
  test("every dependency is imported somewhere, and stands in ARCHITECTURE.md", () => {
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const text = product.map((s) => s.text).join("\n");
    const prose = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
    const names = Object.keys(dependencies);
    expect(names.filter((n) => !text.includes(`"${n}"`) && !text.includes(`"${n}/`))).toEqual([]);
    expect(names.filter((n) => !prose.includes(`\`${n}\``))).toEqual([]);
  });
});

describe("architecture: the code", () => {
  const found = (pattern: RegExp, files = product) =>
    files.flatMap(({ file, text }) =>
      text
        .split("\n")
        .map((line, i) => ({ line, at: `${file}:${i + 1}` }))
        .filter(({ line }) => pattern.test(line) && !/^\s*(\*|\/\/|\/\*)/.test(line))
        .map(({ at, line }) => `${at} ${line.trim().slice(0, 80)}`),
    );

  test("time, chance, process and console only in shared/runtime and main files", () => {
    const outside = product.filter(
      ({ file }) => !file.startsWith("shared/runtime/") && !/(^|\/)main\.ts$/.test(file),
    );
    expect(
      found(
        /\b(Date\.now|performance\.now|new Date\(\)|Math\.random|setTimeout|setInterval|console\.|process\.(?!ts"))/,
        outside,
      ),
    ).toEqual([]);
  });

  test(`no file has over ${MAX_LINES} lines`, () => {
    expect(
      sources
        .map(({ file, text }) => ({ file, lines: text.split("\n").length - 1 }))
        .filter(({ lines }) => lines > MAX_LINES),
    ).toEqual([]);
  });

  test("no file or folder is named after a kind", () => {
    expect(
      sources
        .map((s) => s.file)
        .filter((f) => /(^|\/)(utils?|helpers?|types|manager|common|misc|index)(\.ts|\/)/.test(f)),
    ).toEqual([]);
  });

  test("no escape hatches", () => {
    const self = "test/architecture.test.ts";
    const rest = sources.filter((s) => s.file !== self);
    expect(
      found(/:\s*any\b|\bas any\b|@ts-(ignore|expect-error|nocheck)|biome-ignore|vi\.mock\(/, rest),
    ).toEqual([]);
  });

  test("under 20 entries at the root", () => {
    const skipped = new Set(["node_modules", ".git", "coverage"]);
    expect(readdirSync(root).filter((e) => !skipped.has(e)).length).toBeLessThan(20);
  });
});
