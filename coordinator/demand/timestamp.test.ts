import fc from "fast-check";
import { expect, test } from "vitest";
import { ClfTimes, parseClf, parseTimestamp, wallClock } from "./timestamp.ts";

const AT = Date.UTC(2024, 2, 1, 12, 0, 0);

test.each([
  ["2024-03-01T12:00:00Z", AT],
  ["2024-03-01T12:00:00", AT],
  ["2024-03-01 12:00:00", AT],
  ["2024-03-01 12:00:00.250", AT + 250],
  ["2024-03-01T14:00:00+02:00", AT],
  ["2024-03-01", Date.UTC(2024, 2, 1)],
  ["01/Mar/2024:12:00:00 +0000", AT],
  ["01/Mar/2024:07:00:00 -0500", AT],
  [String(AT / 1000), AT],
  [`${AT / 1000}.5`, AT + 500],
  [String(AT), AT],
  [String(AT * 1000), AT],
  [String(AT * 1e6), AT],
])("timestamp: %s is understood", (text, expected) => {
  expect(parseTimestamp(text)).toBe(expected);
});

test.each([
  "",
  "soon",
  "-5",
  "2024-02-30",
  "2024-03-01T25:00:00",
  "2024-03-01 12",
  "2024-13-45",
  "01/Foo/2024:12:00:00 +0000",
  "NaN",
])("timestamp: %j is refused", (text) => {
  expect(parseTimestamp(text)).toBeNull();
});

test.each([
  ["2024-01-15 12:00:00", "2024-01-15T11:00:00Z"],
  ["2024-07-15 12:00:00", "2024-07-15T10:00:00Z"],
  ["2024-03-31 01:59:59", "2024-03-31T00:59:59Z"],
  ["2024-03-31 03:00:00", "2024-03-31T01:00:00Z"],
  ["2024-10-27 01:30:00", "2024-10-26T23:30:00Z"],
  ["2024-10-27 03:30:00", "2024-10-27T02:30:00Z"],
])("timestamp: %s in Berlin is %s", (local, utc) => {
  expect(parseTimestamp(local, wallClock("Europe/Berlin"))).toBe(Date.parse(utc));
});

test("timestamp: a zone there is not is refused with an example", () => {
  expect(() => wallClock("Mars/Base")).toThrow("Europe/Berlin");
});

test("timestamp: lines share work without sharing mistakes (any times, any order)", () => {
  const two = (n: number) => String(n).padStart(2, "0");
  const time = fc
    .record({
      day: fc.integer({ min: 0, max: 31 }),
      month: fc.constantFrom("Jan", "feb", "Mar", "Foo"),
      minute: fc.constantFrom("00:00", "23:59", "24:00"),
      second: fc.oneof(fc.integer({ min: 0, max: 61 }).map(two), fc.constantFrom("x1", " 1")),
      zone: fc.constantFrom("+0000", "-0730", "+0545"),
    })
    .map(({ day, month, minute, second, zone }) =>
      [`${two(day)}/${month}/2024`, minute, `${second} ${zone}`].join(":"),
    );
  fc.assert(
    fc.property(fc.array(time, { maxLength: 30 }), (texts) => {
      const times = new ClfTimes();
      for (const text of texts) expect([text, times.parse(text)]).toEqual([text, parseClf(text)]);
    }),
    { numRuns: 300 },
  );
});
