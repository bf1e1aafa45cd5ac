/** Files over HTTP: a range of one, or all of it in a stream that goes on after a break. */
import { PrestageError } from "../../shared/errors.ts";
import { shownUrl } from "../../shared/source-url.ts";
import { refusedAccess } from "./credentials.ts";
import { bodyText, type Web, type WebAnswer, type WebBody, type WebRequest } from "./web.ts";

/** Which state of a file an answer was of; null when the server does not say. */
export type Validator = string | null;

/**
 * What is paced is asked for in parts of so much of a second, but not smaller ones: what was asked
 * for comes as fast as the connection gives it, whatever is read.
 */
const PART_SECONDS = 0.01;
const PART_BYTES_MIN = 16 << 10;

/** `bytes` bytes from `offset` on, in memory of its own. Knows servers without ranges. */
export async function readRange(
  web: Web,
  asked: WebRequest,
  { offset, bytes }: { offset: number; bytes: number },
): Promise<Uint8Array> {
  const { pace, signal } = asked;
  if (!pace) return readPart(web, asked, { offset, bytes, rest: bytes });
  const result = Buffer.allocUnsafeSlow(bytes);
  for (let held = 0; held < bytes; ) {
    const rest = bytes - held;
    const part = Math.max(PART_BYTES_MIN, Math.floor(pace.bytesPerSecond * PART_SECONDS));
    const size = Math.min(rest, part);
    await pace.wait(size, signal);
    const got = await readPart(web, asked, { offset: offset + held, bytes: size, rest });
    result.set(got, held);
    held += got.length;
  }
  return result;
}

/** A part; all the rest of it from a server that cannot give less. */
function readPart(
  web: Web,
  asked: WebRequest,
  { offset, bytes, rest }: { offset: number; bytes: number; rest: number },
): Promise<Uint8Array> {
  const headers = { ...asked.headers, range: `bytes=${offset}-${offset + bytes - 1}` };
  return web.ask({ ...asked, headers }, async (answer) => {
    const { status, body } = answer;
    if (status === 206) {
      const got = contentRange(answer);
      if (got?.from === offset && got.to === offset + bytes - 1) return take(body, 0, bytes);
      await body.dump({ limit: 16_384 });
      throw new PrestageError("CORRUPT", `${asked.url.host} answered another range`);
    }
    // A server that knows no ranges sends the whole file: read up to the end of ours.
    if (status === 200) return take(paced(body, bytes, asked), offset, rest);
    throw await refusal(answer, asked);
  });
}

/** The error that an answer other than success stands for. */
export async function refusal(
  answer: WebAnswer,
  { url, authorize }: Pick<WebRequest, "url" | "authorize">,
): Promise<PrestageError> {
  const { status } = answer;
  // Stores say in their XML what is wrong; the rest of it is theirs, and may repeat what we sent.
  const text = await bodyText(answer, REFUSAL_BYTES_MAX).catch(() => "");
  const named = /<Code>([A-Za-z]{1,64})<\/Code>/.exec(text)?.[1];
  const said = named === undefined ? String(status) : `${status} ${named}`;
  if (status === 401 || status === 403) return refusedAccess(url, authorize !== undefined);
  const details = { status };
  if (status === 404 || status === 410)
    return new PrestageError("NOT_FOUND", `${shownUrl(url)} does not exist`, { details });
  if (status === 416)
    return new PrestageError("CORRUPT", "the origin's file is shorter than the manifest says");
  if (status === 412)
    return new PrestageError("CONFLICT", `${shownUrl(url)} changed while it was read`, {
      details,
      remedy: CHANGED_REMEDY,
    });
  return new PrestageError("NOT_FOUND", `${shownUrl(url)}: answer ${said}`, { details });
}

const REFUSAL_BYTES_MAX = 16_384;
const CHANGED_REMEDY = "Publish it again when nobody writes to it.";

/**
 * All of a file. After a broken connection it goes on where it was, when the server says that the
 * file is still the same; throws CONFLICT when it is not. `expected` is the state it must be of.
 */
export async function* streamFile(
  web: Web,
  asked: WebRequest,
  expected: Validator = null,
): AsyncGenerator<Uint8Array> {
  let passed = 0;
  let state = expected;
  let ended = false;
  while (!ended) {
    const before = passed;
    const answer = await web.ask(resumed(asked, passed, state), async (a) => a);
    await checkState(answer, asked, passed, state);
    state ??= validatorOf(answer);
    try {
      for await (const piece of answer.body) {
        passed += piece.length;
        yield piece;
      }
      ended = true;
    } catch (cause) {
      asked.signal.throwIfAborted();
      if (state === null || passed === before) throw broken(asked, cause);
    }
  }
}

/** A strong ETag, else the time of the last change: what tells one state from another. */
export function validatorOf(answer: WebAnswer): Validator {
  const etag = answer.header("etag");
  return etag && !etag.startsWith("W/") ? etag : (answer.header("last-modified") ?? null);
}

function resumed(asked: WebRequest, passed: number, state: Validator): WebRequest {
  if (passed === 0 || state === null) return asked;
  return { ...asked, headers: { ...asked.headers, range: `bytes=${passed}-`, "if-range": state } };
}

async function checkState(
  answer: WebAnswer,
  asked: WebRequest,
  passed: number,
  state: Validator,
): Promise<void> {
  const { status } = answer;
  if (status !== 200 && status !== 206) throw await refusal(answer, asked);
  const other = state !== null && validatorOf(answer) !== state;
  const elsewhere = passed > 0 && contentRange(answer)?.from !== passed;
  if (!other && !elsewhere) return;
  await answer.body.dump({ limit: 16_384 });
  throw new PrestageError("CONFLICT", `${shownUrl(asked.url)} changed while it was read`, {
    remedy: CHANGED_REMEDY,
  });
}

function broken({ url }: WebRequest, cause: unknown): PrestageError {
  return new PrestageError("UNREACHABLE", `${shownUrl(url)} broke off`, { cause });
}

function contentRange(answer: WebAnswer): { from: number; to: number } | null {
  if (answer.status !== 206) return null;
  const [, from, to] = /^bytes (\d+)-(\d+)\//.exec(answer.header("content-range") ?? "") ?? [];
  return from === undefined ? null : { from: Number(from), to: Number(to) };
}

/** The body as fast as it may be read; `paid`: bytes that were waited for already. */
async function* paced(
  body: WebBody,
  paid: number,
  { pace, signal }: WebRequest,
): AsyncGenerator<Buffer> {
  let passed = 0;
  for await (const piece of body) {
    passed += piece.length;
    if (passed > paid) await pace?.wait(passed - Math.max(paid, passed - piece.length), signal);
    yield piece;
  }
}

/** `bytes` bytes of the body after the first `skip`. */
async function take(body: AsyncIterable<Buffer>, skip: number, bytes: number): Promise<Uint8Array> {
  const result = Buffer.allocUnsafeSlow(bytes);
  let passed = 0;
  let held = 0;
  for await (const piece of body) {
    const part: Buffer = piece.subarray(Math.min(piece.length, Math.max(0, skip - passed)));
    held += part.copy(result, held, 0, Math.min(part.length, bytes - held));
    passed += piece.length;
    // Leaving the loop ends the connection, so only a body that has more than asked for is left.
    if (passed > skip + bytes) break;
  }
  if (held === bytes) return result;
  throw new PrestageError("CORRUPT", "the origin's file is shorter than the manifest says");
}
