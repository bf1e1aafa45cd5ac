/**
 * For a process that computes for a fraction of a second: V8's last optimising compiler then costs
 * more than its code gives back. What follows runs at most some 1.8 times slower once warm.
 */
import { setFlagsFromString } from "node:v8";

export function compileBriefly(): void {
  setFlagsFromString("--no-turbofan"); // leaves Maglev; `--max-opt` does not hold in hot loops
}
