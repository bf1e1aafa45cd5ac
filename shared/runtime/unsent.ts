/**
 * How much a TCP connection takes before it was sent. A kernel takes megabytes, and what is more
 * urgent stands behind them; Node has no setting for it, so the system's own call is made.
 */
import type { Socket } from "node:net";

const IPPROTO_TCP = 6;
/** TCP_NOTSENT_LOWAT where it is known; elsewhere connections stay as they are. */
const OPTION = { linux: 25, darwin: 0x201 }[process.platform as string];
const INT_BYTES = 4;

type SetOption = (fd: number, level: number, option: number, at: Uint8Array, n: number) => number;
let setOption: SetOption | null | undefined;

/**
 * From now on the connection takes no more while so much is unsent; 0: as the system has it. False
 * when that cannot be said here.
 */
export function limitUnsent(socket: Socket, bytes: number): boolean {
  setOption ??= OPTION === undefined ? null : systemCall();
  const { _handle: handle } = socket as { _handle?: { fd?: number } | null };
  const fd = handle?.fd ?? -1;
  if (!setOption || OPTION === undefined || fd < 0) return false;
  const value = new Uint8Array(Int32Array.of(bytes).buffer);
  return setOption(fd, IPPROTO_TCP, OPTION, value, INT_BYTES) === 0;
}

/** Null where this Node has no way to make it. */
function systemCall(): SetOption | null {
  const { emitWarning } = process;
  process.emitWarning = () => {}; // that it is experimental: nothing a user could do about
  try {
    const setsockopt = {
      arguments: ["int32", "int32", "int32", "buffer", "uint32"],
      return: "int32",
    } as const;
    const ffi = process.getBuiltinModule("node:ffi");
    return ffi.dlopen(null, { setsockopt }).functions.setsockopt;
  } catch {
    return null;
  } finally {
    process.emitWarning = emitWarning;
  }
}
