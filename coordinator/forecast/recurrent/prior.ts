/** The weights that the product comes with: made by `test/bench/recurrent-prior.ts`. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { RecurrentState } from "./expert.ts";

export const PRIOR_FILE = fileURLToPath(new URL("./prior.json", import.meta.url));

export function priorState(): RecurrentState {
  return RecurrentState.parse(JSON.parse(readFileSync(PRIOR_FILE, "utf8")));
}
