/** How far counts scatter just now and at that time of the season, against what is usual. */
const BUCKETS_MAX = 24;
const BUCKET_GAIN = 0.02;
const NOW_GAIN = 0.12;
const USUAL_GAIN = 0.01;
/** The ratios are taken to these powers, as they are themselves uncertain. */
const SEASON_POWER = 0.7;
const NOW_POWER = 0.7;
/** What today's excess keeps from bin to bin ahead. */
const NOW_KEEP = 0.97;
const FACTOR_MAX = 3;
const CUT = 6;

export class Volatility {
  readonly #season: number;
  readonly #buckets: Float64Array;
  /** Buckets to the power they are used with. */
  readonly #powers: Float64Array;
  #nowLog = 0;
  #now = 0;
  #usual = 0;
  #n = 0;

  /** `season` in bins; 1 without one. */
  constructor(season: number) {
    this.#season = Math.max(1, season);
    this.#buckets = new Float64Array(Math.min(BUCKETS_MAX, this.#season)).fill(1);
    this.#powers = this.#buckets.slice();
  }

  /** `surprise`: size of the error made at bin `t`. */
  update(t: number, surprise: number): void {
    const size = this.#n > 20 ? Math.min(surprise, CUT * this.#usual) : surprise;
    this.#n++;
    const warm = 1 / this.#n;
    this.#now += Math.max(warm, NOW_GAIN) * (size - this.#now);
    this.#usual += Math.max(warm, USUAL_GAIN) * (size - this.#usual);
    if (!(this.#usual > 0)) return;
    const bucket = this.#bucket(t);
    const before = this.#buckets[bucket] ?? 1;
    const next = before + BUCKET_GAIN * (size / this.#usual - before);
    this.#buckets[bucket] = next;
    this.#powers[bucket] = Math.max(0.1, next) ** SEASON_POWER;
    this.#nowLog = NOW_POWER * Math.log(Math.max(0.05, this.#now / this.#usual));
  }

  /** Of bin `t`, `ahead` of the last one seen. */
  factor(t: number, ahead: number): number {
    const season = this.#powers[this.#bucket(t)] ?? 1;
    const factor = season * Math.exp(this.#nowLog * NOW_KEEP ** ahead);
    return Math.min(FACTOR_MAX, Math.max(1 / FACTOR_MAX, factor));
  }

  #bucket(t: number): number {
    return Math.floor(((t % this.#season) * this.#buckets.length) / this.#season);
  }
}
