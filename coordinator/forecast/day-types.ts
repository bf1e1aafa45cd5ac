/**
 * What the calendar adds to the season of a day: working days and days off have a profile each, and
 * a bin is expected to differ from the profile of all days as those of its type did.
 */
import { Profile } from "./profile.ts";

/** What was seen of a day type counts like so many days that were like all. */
const PRIOR_DAYS = 2;

export class DayTypes {
  readonly #working: Profile;
  readonly #off: Profile;

  constructor(day: number, width: number) {
    this.#working = new Profile(day, width);
    this.#off = new Profile(day, width);
  }

  learn(phase: number, isDayOff: boolean, z: number): void {
    (isDayOff ? this.#off : this.#working).learn(phase, z);
  }

  /** z of the phase on such a day, less `usual`, what all days lead to expect. */
  difference(phase: number, isDayOff: boolean, usual: number): number {
    const profile = isDayOff ? this.#off : this.#working;
    const days = profile.cycles(phase);
    return (days / (days + PRIOR_DAYS)) * (profile.expected(phase, usual) - usual);
  }
}
