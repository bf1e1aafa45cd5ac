/**
 * Which SQLite is fit to hold acknowledged data: before 3.51.3 a WAL reset can corrupt a database;
 * the fix was also put into the 3.44 and 3.50 lines.
 */
const FIXED_LINES: readonly (readonly [number, number, number])[] = [
  [3, 44, 6],
  [3, 50, 7],
];
const FIXED_SINCE = [3, 51, 3] as const;

export function hasWalResetFix(version: string): boolean {
  const match = /^(\d+)\.(\d+)\.(\d+)$/.exec(version);
  if (!match) return false;
  const [major, minor, patch] = match.slice(1).map(Number) as [number, number, number];
  const inFixedLine = FIXED_LINES.some(
    ([lineMajor, lineMinor, linePatch]) =>
      major === lineMajor && minor === lineMinor && patch >= linePatch,
  );
  if (inFixedLine) return true;
  if (major !== FIXED_SINCE[0]) return major > FIXED_SINCE[0];
  if (minor !== FIXED_SINCE[1]) return minor > FIXED_SINCE[1];
  return patch >= FIXED_SINCE[2];
}
