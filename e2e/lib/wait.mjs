// Waiting with a time limit: never for a fixed time, always for a condition.

/** An error that no further waiting can mend. */
export class Final extends Error {}

/**
 * Calls `condition` until it gives something truthy, and returns that; fails after `limit` ms, saying `what` was awaited.
 * Where it throws, it is called again, unless it throws a `Final`.
 */
export async function until(what, condition, limit = 30_000, period = 50) {
  const deadline = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const result = await condition();
      if (result) return result;
      last = undefined;
    } catch (error) {
      if (error instanceof Final) throw error;
      last = error;
    }
    if (Date.now() >= deadline) {
      throw new Error(`waited ${limit / 1000} s in vain: ${what}`, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, period));
  }
}

/** Fails if `promise` takes longer than `limit` ms. */
export async function within(what, promise, limit) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${limit / 1000} s in vain: ${what}`)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
