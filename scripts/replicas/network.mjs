// Where the servers of the trial run: in network namespaces joined by a bridge, or on ports of the loopback interface.
import { spawnSync } from "node:child_process";
import { createServer } from "node:net";

const NETWORK = "10.77.0";

/** @typedef {{ host: string, port: number, wrap(command: string[]): string[] }} Place an address, and how to run a command there */

function run(command) {
  const [program, ...args] = command;
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command.join(" ")}: ${error?.message ?? stderr.trim()}`);
}

/** Returns a command that runs `command` in a separate network, which disappears with its namespaces when the command ends. */
export function ownNetwork(command) {
  const prepare = "mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up";
  return ["unshare", "--net", "--mount", "sh", "-c", `${prepare} && exec "$@"`, "sh", ...command];
}

/** Returns the reason why network namespaces cannot be created, or undefined. */
export function whyNoNamespaces() {
  if (process.platform !== "linux") return "this is not Linux";
  const probe = "ip link add name probe type bridge && ip netns add probe && ip netns exec probe true";
  const [program, ...args] = ownNetwork(["sh", "-c", probe]);
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}

/** Makes a bridge and `count` namespaces on it, inside a separate network. @returns {Place[]} */
export function namespaces(count) {
  run(["ip", "link", "add", "name", "bridge", "type", "bridge"]);
  run(["ip", "address", "add", `${NETWORK}.254/24`, "dev", "bridge"]);
  run(["ip", "link", "set", "bridge", "up"]);
  return Array.from({ length: count }, (_, index) => {
    const name = `replica${index + 1}`;
    const host = `${NETWORK}.${index + 1}`;
    const inside = ["ip", "-n", name];
    run(["ip", "netns", "add", name]);
    run(["ip", "link", "add", `to-${name}`, "type", "veth", "peer", "name", "eth0", "netns", name]);
    run(["ip", "link", "set", `to-${name}`, "master", "bridge", "up"]);
    run([...inside, "address", "add", `${host}/24`, "dev", "eth0"]);
    run([...inside, "link", "set", "lo", "up"]);
    run([...inside, "link", "set", "eth0", "up"]);
    return { host, port: 8080, wrap: (command) => ["ip", "netns", "exec", name, ...command] };
  });
}

/** Returns free ports of the loopback interface. @returns {Promise<Place[]>} */
export async function loopbackPorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports.map((port) => ({ host: "127.0.0.1", port, wrap: (command) => command }));
}
