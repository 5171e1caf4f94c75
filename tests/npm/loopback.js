// Loaded with `node -r` before a server: whatever address it asks for, it listens on 127.0.0.1.
"use strict";

const { Server } = require("node:net");

const HOST = "127.0.0.1";
const listen = Server.prototype.listen;

Server.prototype.listen = function listenOnLoopback(first, ...rest) {
  const isPort = typeof first === "number" || /^\d+$/.test(String(first));
  const isPortOptions = first !== null && typeof first === "object" && "port" in first;
  if (isPortOptions) {
    return listen.call(this, { ...first, host: HOST }, ...rest);
  }
  if (isPort) {
    // listen(port, host?, backlog?, callback?): only a string in the second place is a host.
    const hasHost = rest.length > 0 && (typeof rest[0] === "string" || rest[0] == null);
    return listen.call(this, first, HOST, ...(hasHost ? rest.slice(1) : rest));
  }
  if (first === undefined || typeof first === "function") {
    return listen.call(this, 0, HOST, ...(first ? [first, ...rest] : rest));
  }
  return listen.call(this, first, ...rest); // a pipe or an open handle: no TCP address
};
