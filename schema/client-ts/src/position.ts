/** Up to where the log was seen: of each partition, the last sequence. */
export class Position {
  private log = "";
  private upto = new Map<number, number>();

  /** Remembers what an answer tells. */
  note(headers: Headers): void {
    const text = headers.get("Receiptd-Position");
    const log = headers.get("Receiptd-Log");
    if (text) this.add(log ? `${text}@${log}` : text);
  }

  /** Moves the position up; one of another log takes its place. Reports whether it is a position. */
  add(text: string): boolean {
    const [list = "", log = ""] = text.split("@");
    if (!/^\d+:\d+(,\d+:\d+)*$/.test(list)) return false;
    if (log !== this.log) this.forget();
    this.log = log;
    for (const item of list.split(",")) {
      const [k = 0, sequence = 0] = item.split(":").map(Number);
      this.upto.set(k, Math.max(this.upto.get(k) ?? 0, sequence));
    }
    return true;
  }

  /** Notes positions of the log that is known. */
  raise(list: { partition: number; sequence: number }[] = []): void {
    if (this.upto.size === 0) return;
    for (const p of list) this.upto.set(p.partition, Math.max(this.upto.get(p.partition) ?? 0, p.sequence));
  }

  /** The position, with the log's identity behind an @; empty if there is none. */
  get text(): string {
    const list = [...this.upto].sort(([a], [b]) => a - b).map(([k, sequence]) => `${k}:${sequence}`);
    return list.join(",") + (this.log && list.length ? `@${this.log}` : "");
  }

  /** Reports whether there was a position to forget. */
  forget(): boolean {
    const was = this.upto.size > 0;
    this.log = "";
    this.upto.clear();
    return was;
  }
}
