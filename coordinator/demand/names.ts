/** Valid names from what recordings call their workloads. The same text gives the same name. */
import { createHash } from "node:crypto";
import { CategoryName, Name } from "../../shared/domain.ts";

const SUFFIX_HEX = 6;
const NAME_MAX = 64;
const CATEGORY_MAX = 128;

/** Lower case, and where that is not enough, cleaned with a hash so that two stay two. */
export function workloadName(text: string): string {
  const lower = text.toLowerCase();
  if (Name.safeParse(lower).success) return lower;
  const hash = createHash("sha256").update(text).digest("hex").slice(0, SUFFIX_HEX);
  const clean = lower
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, "")
    .slice(0, NAME_MAX - SUFFIX_HEX - 1);
  return clean === "" ? `w-${hash}` : `${clean}-${hash}`;
}

export function categoryName(text: string): string {
  if (CategoryName.safeParse(text).success) return text;
  const clean = text.trim().replaceAll(/[\s/]+/g, "-");
  return clean === "" ? "default" : clean.slice(0, CATEGORY_MAX);
}

/** `fn-` and the first ten hex digits; more of them when another function begins the same. */
export class FunctionNames {
  readonly #owners = new Map<string, string>();

  nameOf(hash: string): string {
    const hex = hash.toLowerCase().replaceAll(/[^0-9a-f]/g, "");
    for (let digits = 10; digits < hex.length + 6; digits += 6) {
      const name = `fn-${hex.slice(0, digits)}`;
      const owner = this.#owners.get(name);
      if (owner === hash) return name;
      if (owner === undefined) {
        this.#owners.set(name, hash);
        return name;
      }
    }
    return workloadName(hash);
  }
}
