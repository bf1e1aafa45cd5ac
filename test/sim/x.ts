import { Run } from "./run.ts";

const r = await new Run(Number(process.argv[2] ?? 1), {
  hosts: 50,
  seconds: Number(process.argv[3] ?? 1000),
  broken: null,
}).result();
console.log(r.violation?.message, r.digest, r.steps);
