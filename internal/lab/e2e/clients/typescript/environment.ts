// What both programs get of the test. There are no types of Node here: they need none of it.
declare global {
  var process: { env: Record<string, string | undefined>; exit(code: number): never };
}

export const environment = { API: process.env.API ?? "", KEY: process.env.KEY ?? "" };

export function check(ok: unknown, seen: unknown): asserts ok {
  if (!ok) {
    console.error(JSON.stringify(seen));
    process.exit(1);
  }
}
