/** nginx as an origin of artifacts: what it sent, and to whom, is read from its access log. */
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

export type Sent = { to: string; status: number; bytes: number };

/**
 * Writes its configuration below `dir`; gives the command that serves `root` at `listen`, each
 * answer at a rate when one is given.
 */
export async function countingOrigin(
  dir: string,
  root: string,
  listen: string,
  bytesPerSecond = 0,
): Promise<string[]> {
  await mkdir(dir, { recursive: true });
  await chmod(dir, 0o755);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${dir}/${kind};`)
    .join(" ");
  const config = `
    user root; daemon off; master_process off; pid ${dir}/pid; error_log ${dir}/error.log;
    events { worker_connections 2048; }
    http {
      log_format sent "$remote_addr $status $body_bytes_sent";
      access_log ${dir}/access.log sent; ${temporary}
      keepalive_requests 100000; limit_rate ${bytesPerSecond};
      server { listen ${listen}; root ${root}; autoindex on; autoindex_format json; }
    }`;
  const file = join(dir, "nginx.conf");
  await writeFile(file, config);
  return ["nginx", "-e", join(dir, "error.log"), "-c", file];
}

/** Every answer so far, in the order in which they ended. */
export async function sentBy(dir: string): Promise<Sent[]> {
  const text = await readFile(join(dir, "access.log"), "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [to = "", status = "", bytes = ""] = line.split(" ");
      return { to, status: Number(status), bytes: Number(bytes) };
    });
}

export function sumOf(sent: readonly Sent[]): number {
  return sent.reduce((sum, { bytes }) => sum + bytes, 0);
}
