/** Byte ranges of files that lie as they are under a base URL. (stub) */
export type RangeRequest = { originUrl: string; path: string; offset: number; bytes: number };

export class HttpSource {
  fetchRange(_range: RangeRequest, _options: { signal: AbortSignal }): Promise<Uint8Array> {
    throw new Error("not built yet");
  }
  async close(): Promise<void> {}
}
