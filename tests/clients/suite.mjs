// What the suites in JavaScript share: facts run by name against one broker, each with topics of
// its own. A suite ends with `await main({ name: async (bootstrap) => ..., ... })`.
import { randomUUID } from 'node:crypto';

/** A name nobody has used. */
export const fresh = (what) => `${what}-${randomUUID().slice(0, 13)}`;

/** The first true answer; fails when there is none in time. */
export async function eventually(question, within = 30_000) {
  const end = Date.now() + within;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within the time: ${question}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

export async function main(facts) {
  const [bootstrap, ...names] = process.argv.slice(2);
  let failed = 0;
  for (const [name, check] of Object.entries(facts)) {
    if (names.length && !names.includes(name)) continue;
    const began = Date.now();
    let outcome = 'ok';
    try {
      await check(bootstrap);
    } catch (error) { // every fact is told about
      console.error(name, error);
      outcome = 'FAILED';
      failed += 1;
    }
    console.log(`${name} ... ${outcome} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  }
  process.exit(failed ? 1 : 0);
}
