// A second OPC UA server for the tests: node-opcua, which pages histories by continuation points. Not part of cellfleet.
// node node_opcua_server.js <port> <values>; prints `ok` when it listens.
const { OPCUAServer, Variant, DataType, DataValue, StatusCodes, MessageSecurityMode, SecurityPolicy, standardUnits } = require("node-opcua");

const [port, count] = process.argv.slice(2).map(Number);
const start = 1772323200000;

(async () => {
  const server = new OPCUAServer({
    port, resourcePath: "/cellfleet",
    securityModes: [MessageSecurityMode.None], securityPolicies: [SecurityPolicy.None],
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const own = space.getOwnNamespace();
  const suite = own.addFolder(space.rootFolder.objects, { browseName: "Suite" });
  const vessel = own.addFolder(suite, { browseName: "B1" });
  const node = own.addAnalogDataItem({
    componentOf: vessel, browseName: "Temperature", dataType: "Double",
    engineeringUnitsRange: { low: 0, high: 50 }, engineeringUnits: standardUnits.degree_celsius,
    accessLevel: "CurrentRead | HistoryRead", userAccessLevel: "CurrentRead | HistoryRead",
  });
  space.installHistoricalDataNode(node, { maxOnlineValues: count });
  for (let i = 0; i < count; i++) {
    const at = new Date(start + i * 1000);
    const status = i % 97 === 0 ? StatusCodes.UncertainLastUsableValue : StatusCodes.Good;
    node._historyPush(new DataValue({
      value: new Variant({ dataType: DataType.Double, value: 37 + i / 1e6 }), statusCode: status,
      sourceTimestamp: at, serverTimestamp: at,
    }));
  }
  await server.start();
  console.log("ok");
})();
