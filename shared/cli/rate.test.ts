import { expect, test } from "vitest";
import { TransferText } from "./rate.ts";

test("progress: says the rate of the last seconds and what remains at it", () => {
  const text = new TransferText();
  expect(text.at(0, 0, 300e6)).toBe("0 B of 300.0 MB");
  expect(text.at(1_000, 10e6, 300e6)).toBe("10.0 MB of 300.0 MB, 10.0 MB/s, 29.0 s left");
  for (let ms = 1_000; ms <= 8_000; ms += 100) text.at(ms, 10e6 + (ms - 1_000) * 40e3, 300e6);
  expect(text.at(8_000, 290e6, 300e6)).toBe("290.0 MB of 300.0 MB, 40.0 MB/s, 250 ms left");
});

test("progress: nothing remains to be said of a size that is not known, or when it stands still", () => {
  const text = new TransferText();
  text.at(0, 0, 0);
  expect(text.at(2_000, 4e6, 0)).toBe("4.0 MB, 2.0 MB/s");
  for (let ms = 2_100; ms <= 9_000; ms += 100) text.at(ms, 4e6, 8e6);
  expect(text.at(9_000, 4e6, 8e6)).toBe("4.0 MB of 8.0 MB");
});
