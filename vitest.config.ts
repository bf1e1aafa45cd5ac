import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{shared,agent,coordinator,packaging,test}/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
});
