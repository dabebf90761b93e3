/** The lines of a body as they come, without their ends. A last line that was cut off is none. */
export async function* linesOf(body: ReadableStream<Uint8Array>, onData: () => void = () => {}): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onData();
      const lines = (held + decoder.decode(value, { stream: true })).split("\n");
      held = lines.pop() ?? "";
      for (const line of lines) yield line.endsWith("\r") ? line.slice(0, -1) : line;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
