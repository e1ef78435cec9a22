// Reads AsyncAPI documents with the parser of the AsyncAPI project: a list of texts on stdin, what was found on stdout.
import { text } from "node:stream/consumers";
import { Parser } from "@asyncapi/parser";

const SEVERITIES = ["error", "warning", "info", "hint"];

async function read(source) {
  const { document, diagnostics } = await new Parser().parse(source);
  const found = diagnostics.map(({ severity, code, path, message }) => ({
    severity: SEVERITIES[severity], code, path: path.join("/"), message,
  }));
  const channels = Object.fromEntries((document?.channels().all() ?? []).map((channel) => [
    channel.id(),
    {
      address: channel.address(),
      servers: channel.servers().all().map((each) => each.id()),
      actions: channel.operations().all().map((each) => each.action()),
      messages: Object.fromEntries(channel.messages().all().map((each) => [
        each.name(),
        {
          headers: each.headers()?.required() ?? [],
          examples: each.examples().all().map((one) => one.payload().type),
          fields: Object.keys(each.payload().allOf()[0].properties()),
        },
      ])),
    },
  ]));
  return { found, channels };
}

process.stdout.write(JSON.stringify(await Promise.all(JSON.parse(await text(process.stdin)).map(read))));
