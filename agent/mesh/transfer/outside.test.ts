import { hash } from "node:crypto";
import { expect, test } from "vitest";
import { seededRandom } from "../../../shared/runtime/random.ts";
import { Bitmap } from "./bitmap.ts";
import { TRANSFER_DEFAULTS } from "./options.ts";
import { Transfer } from "./transfer.ts";
import { type Answer, type Effect, ORIGIN } from "./wants.ts";

const UNITS = 30;
const ID = hash("sha256", "version", "hex");
const CHUNKS = Array.from({ length: UNITS }, (_, i) => ({
  hash: hash("sha256", `chunk ${i}`, "hex"),
  bytes: 1 << 20,
}));
type Host = { name: string; core: Transfer; have: Bitmap };

/** A site in which only the origin takes time; silent hosts neither act nor are heard. */
class Site {
  readonly hosts: Host[];
  /** Who asked the origin for a unit. */
  readonly asked = new Map<number, string[]>();
  silent: string[] = [];
  answer: (host: string) => Answer | null = () => "ok";
  #coming: (() => void)[] = [];
  #nowMs = 0;

  constructor(names: readonly string[], { foreground = false } = {}) {
    this.hosts = names.map((name) => ({
      name,
      core: new Transfer({ ...TRANSFER_DEFAULTS, self: name, random: seededRandom(name) }),
      have: new Bitmap(UNITS),
    }));
    for (const host of this.hosts) {
      const others = names.filter((name) => name !== host.name);
      this.step(host, { type: "members", hosts: others });
      this.step(host, { type: "rate", bytesPerSecond: 1e12 });
      const how = { priority: 1, deadlineMs: 0, foreground, hasOrigin: true };
      const want = { id: ID, chunks: CHUNKS, missing: CHUNKS.keys(), ...how };
      this.step(host, { type: "want", want });
    }
  }

  get whole(): string[] {
    return this.hosts.filter((h) => h.have.complete).map((h) => h.name);
  }

  get times(): number {
    return [...this.asked.values()].reduce((sum, hosts) => sum + hosts.length, 0);
  }

  run(forMs: number): void {
    for (const endMs = this.#nowMs + forMs; this.#nowMs < endMs; this.#nowMs += 100) {
      const awake = this.hosts.filter((h) => !this.silent.includes(h.name));
      for (const come of this.#coming.splice(0)) come();
      for (const host of awake) this.step(host, { type: "tick" });
      for (const host of awake)
        for (const other of awake) if (other !== host) this.step(other, said(host));
    }
  }

  gone(name: string): void {
    this.silent.push(name);
    for (const host of this.hosts) this.step(host, { type: "gone", host: name });
  }

  step(host: Host, event: Parameters<Transfer["step"]>[0]): void {
    for (const effect of host.core.step(event, this.#nowMs)) this.#perform(host, effect);
  }

  /** The coordinator says who was first. */
  rank(): void {
    for (const [i, host] of this.hosts.entries())
      for (const { id } of host.core.looks(this.#nowMs))
        this.step(host, { type: "turn", id, ours: true, ahead: i > 0 });
  }

  #perform(host: Host, effect: Effect): void {
    if (effect.type === "have") this.#tell(host, effect);
    if (effect.type !== "origin" && effect.type !== "request") return;
    const from = effect.type === "request" ? effect.host : ORIGIN;
    const { id, unit, positions } = effect;
    if (from === ORIGIN) this.asked.set(unit, [...(this.asked.get(unit) ?? []), host.name]);
    const result = from === ORIGIN ? this.answer(host.name) : "ok";
    if (this.silent.includes(from) || result === null) return;
    const come = () => this.step(host, { type: "answer", id, unit, positions, from, result });
    if (from === ORIGIN) this.#coming.push(come);
    else come();
  }

  #tell(host: Host, { id, unit, hosts }: Extract<Effect, { type: "have" }>): void {
    host.have.set(unit);
    for (const other of this.hosts)
      if (hosts.includes(other.name) && !this.silent.includes(other.name))
        this.step(other, { type: "have", host: host.name, id, units: [unit] });
  }
}

function said({ name, core, have }: Host): Parameters<Transfer["step"]>[0] {
  const what = { id: ID, have: new Bitmap(UNITS, have.toBytes()), ...core.outside(ID) };
  const manifests = [{ ...what, wanting: !have.complete }];
  return { type: "said", host: name, local: true, whole: true, manifests };
}

const NAMES = Array.from({ length: 12 }, (_, i) => `h${i}`);

test("outside: every unit is asked of the origin once, by few hosts of many", () => {
  const site = new Site(NAMES);
  site.run(10_000);
  expect(site.whole).toEqual(NAMES);
  expect(site.times).toBe(UNITS);
  expect(new Set([...site.asked.values()].flat()).size).toBeLessThanOrEqual(4);
});

test("outside: a host whose way to the origin fails says so, and others go for it", () => {
  const site = new Site(NAMES);
  site.answer = (name) => (Number(name.slice(1)) % 2 === 0 ? "failed" : "ok");
  site.run(20_000);
  expect(site.whole).toEqual(NAMES);
  expect(site.times).toBeLessThan(2 * UNITS);
});

test("outside: hosts that fall silent without a word are passed over (all first ones)", () => {
  const site = new Site(NAMES);
  site.run(200);
  site.silent = NAMES.slice(0, 8);
  site.run(20_000);
  expect(site.whole).toEqual(NAMES.slice(8));
  expect(site.times).toBe(UNITS);
});

test("outside: an origin that does not answer one host is asked by another when that one goes", () => {
  const site = new Site(NAMES);
  let stuck = "";
  site.answer = (name) => {
    stuck ||= name;
    return name === stuck ? null : "ok";
  };
  site.run(15_000);
  expect(site.whole).toEqual([]); // it says that it is at it, so nobody asks for the same
  expect(site.times).toBe(site.asked.size);
  site.gone(stuck);
  site.run(5_000);
  expect(site.whole).toEqual(NAMES.filter((name) => name !== stuck));
});

test("outside: a host that is far ahead of the others waits for them, but not for ever", () => {
  const site = new Site(["a", "b"]);
  const [a, b] = site.hosts;
  if (!a || !b) throw new Error("no hosts");
  site.silent = ["b"];
  site.step(a, said(b));
  site.run(2_500);
  expect(site.times).toBeLessThan(4);
  site.run(20_000);
  expect(site.whole).toEqual(["a"]);
});

test("outside: requests at several hosts ask the origin once (12 at once)", () => {
  const site = new Site(NAMES, { foreground: true });
  site.rank();
  expect([...site.asked.values()]).toEqual([["h0"]]);
  site.run(10_000);
  expect(site.whole).toEqual(NAMES);
  expect(site.times).toBe(UNITS);
});

test("outside: a request goes to the origin though the coordinator does not answer", () => {
  const site = new Site(["a", "b"], { foreground: true });
  site.run(300);
  expect(site.times).toBe(0);
  site.run(100);
  expect(site.times).toBeGreaterThan(0);
  site.run(10_000);
  expect(site.whole).toEqual(["a", "b"]);
});

test("outside: the coordinator is not asked who of the site wants what has no origin", () => {
  for (const hasOrigin of [true, false]) {
    const core = new Transfer({ ...TRANSFER_DEFAULTS, self: "a", random: seededRandom("a") });
    core.step({ type: "members", hosts: ["b"] }, 0);
    const how = { priority: 1, deadlineMs: 0, foreground: true, hasOrigin };
    const want = { id: ID, chunks: CHUNKS, missing: CHUNKS.keys(), ...how };
    core.step({ type: "want", want }, 0);
    expect([...core.looks(0)].length).toBe(hasOrigin ? 1 : 0);
  }
});

/** A host alone in its site wants a version from an origin; other sites are there. */
class Lonely {
  readonly #core = new Transfer({ ...TRANSFER_DEFAULTS, self: "a", random: seededRandom("a") });
  #nowMs = 0;
  asked: string[] = [];
  readonly fromOrigin = new Set<number>();

  constructor({ foreground = false } = {}) {
    this.step({ type: "members", hosts: [], elsewhere: true });
    this.step({ type: "rate", bytesPerSecond: 1e12 });
    const how = { priority: 1, deadlineMs: 0, foreground, hasOrigin: true };
    this.step({ type: "want", want: { id: ID, chunks: CHUNKS, missing: CHUNKS.keys(), ...how } });
  }

  step(event: Parameters<Transfer["step"]>[0]): void {
    for (const effect of this.#core.step(event, this.#nowMs)) {
      if (effect.type === "origin") {
        this.asked.push(ORIGIN);
        this.fromOrigin.add(effect.unit);
      }
      if (effect.type === "request") this.asked.push(effect.host);
    }
  }

  run(forMs: number): void {
    for (const endMs = this.#nowMs + forMs; this.#nowMs < endMs; this.#nowMs += 100)
      this.step({ type: "tick" });
  }

  turn(ours: boolean): void {
    this.step({ type: "turn", id: ID, ours, ahead: false });
  }

  /** A neighbour has all of it and offers it unit by unit. */
  spreading(host: string): void {
    const one = { id: ID, have: Bitmap.full(UNITS), wanting: false, urgent: false, claims: [] };
    const manifests = [{ ...one, spreading: true }];
    this.step({ type: "said", host, local: true, near: true, whole: true, manifests });
  }

  gone(host: string): void {
    this.step({ type: "gone", host });
  }

  distant(host: string, units: readonly number[]): void {
    const have = new Bitmap(UNITS);
    for (const unit of units) have.set(unit);
    const manifests = [{ id: ID, have, wanting: false, urgent: false, claims: [] }];
    this.step({ type: "said", host, local: false, whole: false, manifests });
  }

  get looks(): number {
    return [...this.#core.looks(this.#nowMs)].length;
  }
}

test("outside: a site whose turn it is not asks hosts of other sites, and not the origin", () => {
  const host = new Lonely();
  host.turn(false);
  host.run(1_000);
  expect(host.asked).toEqual([]);
  host.distant("far", [0, 1, 2]);
  host.run(200);
  expect(host.asked).toEqual(["far", "far", "far"]);
});

test("outside: a site whose turn it is asks the origin only for what other sites lack", () => {
  const host = new Lonely();
  host.distant("far", [0, 1, 2]);
  host.turn(true);
  host.run(1_000);
  expect(host.asked).toContain("far");
  expect(host.fromOrigin.size).toBeGreaterThan(2);
  for (const unit of [0, 1, 2]) expect(host.fromOrigin.has(unit)).toBe(false);
});

test.each([
  { foreground: false, answered: true, patienceMs: 8_000 },
  { foreground: true, answered: true, patienceMs: 1_000 },
  { foreground: true, answered: false, patienceMs: 500 },
])("outside: a site that gets nothing goes to the origin, turn or not (%j)", (given) => {
  const { answered, patienceMs } = given;
  const host = new Lonely(given);
  if (answered) host.turn(false);
  host.run(patienceMs - 200);
  expect(host.asked).toEqual([]);
  host.run(500);
  expect(host.asked).toEqual([ORIGIN]);
});

test("outside: other sites are looked at once a second, three times where a request waits", () => {
  const [staging, request] = [new Lonely(), new Lonely({ foreground: true })];
  let [s, r] = [0, 0];
  for (let i = 0; i < 30; i++) {
    s += staging.looks;
    r += request.looks;
    staging.run(100);
    request.run(100);
  }
  expect([s, r]).toEqual([3, 10]);
});

test("outside: nobody looks in other sites while a neighbour that has all of it gives it out", () => {
  const host = new Lonely();
  host.spreading("near");
  host.run(2_000);
  expect(host.looks).toBe(0);
  expect(host.asked).toEqual([]);
  host.gone("near");
  host.run(1_000);
  expect(host.looks).toBe(1);
});
