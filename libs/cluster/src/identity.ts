import { createHash } from "node:crypto";
import { BlockList, isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { advertisedHost, CarillonError, type Config, type Listen } from "@carillon/config";
import { builtinRoute, type Address, type Identity, type Policy, type RelayRule } from "@carillon/proxy";

const DIALOG_MARGIN_MS = 600_000;

/** What the proxy core goes by, from the configuration. `listening` are the addresses as they were bound, where that is known. */
export function policyOf(config: Config, listening: readonly Listen[] = config.sip.listen): Policy {
  const identity = identityOf(config, listening);
  return {
    identity,
    route: builtinRoute(identity, relayRule(config.sip.relay)),
    script: undefined,
    timerCMs: config.sip.timerCMs,
    dialogKeepMs: config.dialog.timeoutMs + DIALOG_MARGIN_MS,
    seed: createHash("sha256").update(`carillon ${config.cluster.secret}`).digest().readInt32BE(0),
  };
}

/** Who the cluster is: the advertised address for each transport, and all other names for it. */
export function identityOf(config: Config, listening: readonly Listen[]): Identity {
  const { host, port } = advertisedHost(config, ownAddress);
  const advertised = listening.map((listen): Address => ({ transport: listen.transport, host, port: port === 0 ? listen.port : port }));
  const [first, ...others] = advertised;
  if (first === undefined) throw new CarillonError("CARILLON_CONFIG_VALUE", "CARILLON_SIP_LISTEN is empty", "Name at least one address");
  const names = new Set(config.sip.domains);
  names.add(host.toLowerCase());
  for (const listen of listening) {
    if (listen.host !== "0.0.0.0" && listen.host !== "::") names.add(listen.host.toLowerCase());
    else for (const own of ownAddresses()) names.add(own);
  }
  return { advertised: [first, ...others], names, ports: new Set([...listening.map((listen) => listen.port), ...advertised.map((address) => address.port)]) };
}

const ownAddresses = (): readonly string[] =>
  Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address.toLowerCase()));

/** The first address that other machines may reach; loopback where there is none. */
function ownAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return (all.find(({ internal, family }) => !internal && family === "IPv4") ?? all.find(({ family }) => family === "IPv4"))?.address;
}

/** `any`, `none`, or hosts: names, addresses, CIDR blocks. */
export function relayRule(rules: readonly string[]): RelayRule {
  if (rules.includes("any")) return { allows: () => true };
  const names = new Set<string>();
  const blocks = new BlockList();
  for (const rule of rules) {
    if (rule === "none") continue;
    const [network, prefix] = rule.split("/");
    const family = isIP(network ?? "");
    if (family === 0 || network === undefined) names.add(rule.toLowerCase());
    else blocks.addSubnet(network, prefix === undefined ? (family === 4 ? 32 : 128) : Number(prefix), family === 4 ? "ipv4" : "ipv6");
  }
  return {
    allows: (host) => {
      const family = isIP(host);
      return family === 0 ? names.has(host.toLowerCase()) : blocks.check(host, family === 4 ? "ipv4" : "ipv6");
    },
  };
}
