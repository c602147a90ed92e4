// Chance that can be had again: the same seed gives the same numbers.

import { randomInt } from "node:crypto";

/** The seed in `LYCEUM_TEST_SEED`, or a new one. */
export function newSeed() {
  const given = process.env.LYCEUM_TEST_SEED;
  return given ? Number(given) : randomInt(2 ** 32);
}

/** Numbers by chance, by the generator xorshift32. */
export class Chance {
  constructor(seed) {
    // Neighbouring seeds give unlike numbers, and the state is never zero.
    this.state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0 || 1;
  }

  /** A number from 0, and below `end`. */
  below(end) {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    this.state >>>= 0;
    return this.state % end;
  }

  /** Whether something happens that does so in `percent` of cases. */
  in(percent) {
    return this.below(100) < percent;
  }

  /** The same things in another order. */
  shuffle(things) {
    const left = [...things];
    return things.map(() => left.splice(this.below(left.length), 1)[0]);
  }
}
