/**
 * A libp2p peer with a key nobody enrolled, which keeps dialing one host:
 * node unenrolled-peer.ts PEER_ID MULTIADDR…   Its first line is its own peer id.
 */
import { TestFleet } from "../../agent/mesh/mesh.fixture.ts";

const [peerId = "", ...meshAddresses] = process.argv.slice(2);
const { mesh, member } = await new TestFleet().start("nobody");
process.stdout.write(`${member.peerId}\n`);
mesh.setMembers([{ host: "host-1", site: "lab", peerId, meshAddresses, routerUrl: null }]);
