import { expect, test } from "vitest";
import { parseTimestamp } from "./timestamp.ts";

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

test.each(["", "soon", "-5", "2024-13-45", "01/Foo/2024:12:00:00 +0000", "NaN"])(
  "timestamp: %j is refused",
  (text) => {
    expect(parseTimestamp(text)).toBeNull();
  },
);
