/** Autocorrelation of a series. */
import { Scratch } from "./scratch.ts";

const REAL = new Scratch();
const IMAGINARY = new Scratch();

/** At one lag, by its products. */
export function autocorrelationAt(values: Float64Array, lag: number): number {
  const mean = meanOf(values);
  let variance = 0;
  let covariance = 0;
  for (let i = 0; i < values.length; i++) {
    const value = (values[i] ?? 0) - mean;
    variance += value * value;
    if (i >= lag) covariance += value * ((values[i - lag] ?? 0) - mean);
  }
  return variance > 0 ? covariance / variance : 0;
}

/** At all lags up to one, by the fast Fourier transform (Cooley & Tukey 1965, radix 2). */
export function autocorrelation(values: Float64Array, lagMax: number): Float64Array {
  let size = 1;
  while (size < values.length + lagMax + 1) size *= 2;
  const real = REAL.take(size).fill(0);
  const imaginary = IMAGINARY.take(size).fill(0);
  const mean = meanOf(values);
  for (let i = 0; i < values.length; i++) real[i] = (values[i] ?? 0) - mean;
  transform(real, imaginary);
  for (let i = 0; i < size; i++) {
    real[i] = (real[i] ?? 0) ** 2 + (imaginary[i] ?? 0) ** 2;
    imaginary[i] = 0;
  }
  transform(real, imaginary);
  const variance = real[0] ?? 0;
  const found = real.slice(0, lagMax + 1);
  for (let lag = 0; lag <= lagMax; lag++) {
    found[lag] = variance > 0 ? (found[lag] ?? 0) / variance : 0;
  }
  return found;
}

function meanOf(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ?? 0;
  return sum / Math.max(1, values.length);
}

/** In place; the length is a power of two. */
function transform(real: Float64Array, imaginary: Float64Array): void {
  const size = real.length;
  swapByReversedBits(real, imaginary);
  for (let half = 1; half < size; half *= 2) {
    const stepRe = Math.cos(Math.PI / half);
    const stepIm = -Math.sin(Math.PI / half);
    let turnRe = 1;
    let turnIm = 0;
    for (let offset = 0; offset < half; offset++) {
      for (let i = offset; i < size; i += 2 * half) {
        const j = i + half;
        const re = (real[j] ?? 0) * turnRe - (imaginary[j] ?? 0) * turnIm;
        const im = (real[j] ?? 0) * turnIm + (imaginary[j] ?? 0) * turnRe;
        real[j] = (real[i] ?? 0) - re;
        imaginary[j] = (imaginary[i] ?? 0) - im;
        real[i] = (real[i] ?? 0) + re;
        imaginary[i] = (imaginary[i] ?? 0) + im;
      }
      const next = turnRe * stepRe - turnIm * stepIm;
      turnIm = turnRe * stepIm + turnIm * stepRe;
      turnRe = next;
    }
  }
}

function swapByReversedBits(real: Float64Array, imaginary: Float64Array): void {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i >= j) continue;
    [real[i], real[j]] = [real[j] ?? 0, real[i] ?? 0];
    [imaginary[i], imaginary[j]] = [imaginary[j] ?? 0, imaginary[i] ?? 0];
  }
}
