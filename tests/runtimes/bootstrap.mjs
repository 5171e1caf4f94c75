// A Lambda runtime in Node without dependencies:  node bootstrap.mjs HANDLER.mjs
// HANDLER.mjs exports `handler(event, context)`; the Runtime API is at $AWS_LAMBDA_RUNTIME_API.

import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const CONTEXT = {
  "lambda-runtime-aws-request-id": "awsRequestId",
  "lambda-runtime-invoked-function-arn": "invokedFunctionArn",
  "lambda-runtime-deadline-ms": "deadlineMs",
  "lambda-runtime-trace-id": "traceId",
  "lambda-runtime-client-context": "clientContext",
};

function call(method, name, body, headers = {}) {
  const options = { host, port, method, path: `/2018-06-01/runtime/${name}`, agent, headers };
  if (body !== undefined) headers["Content-Length"] = Buffer.byteLength(body);
  return new Promise((resolve, reject) => {
    const request = http.request(options, (reply) => {
      const parts = [];
      reply.on("data", (part) => parts.push(part));
      reply.on("end", () => resolve({ headers: reply.headers, body: Buffer.concat(parts) }));
      reply.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

function report(name, error) {
  const body = { errorType: error.name, errorMessage: error.message, stackTrace: [] };
  return call("POST", name, JSON.stringify(body));
}

let handler;
try {
  ({ handler } = await import(pathToFileURL(path.resolve(process.argv[2]))));
} catch (error) {
  await report("init/error", error);
  process.exit(1);
}
for (;;) {
  const { headers, body } = await call("GET", "invocation/next");
  const context = {};
  for (const [header, name] of Object.entries(CONTEXT)) context[name] = headers[header];
  try {
    const response = await handler(JSON.parse(body), context);
    const text = JSON.stringify(response ?? null);
    await call("POST", `invocation/${context.awsRequestId}/response`, text);
  } catch (error) {
    await report(`invocation/${context.awsRequestId}/error`, error);
  }
}
