// Verifies deliveries as receivers written in JavaScript do: a list of cases on stdin, a list of words on stdout.
import { createPublicKey, verify } from "node:crypto";
import { text } from "node:stream/consumers";
import * as standardwebhooks from "standardwebhooks";
import * as svix from "svix";

const RAW_KEY_IN_DER = Buffer.from("302a300506032b6570032100", "hex");

function verifyByKey(key, headers, body) {
  const content = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), body]);
  const signatures = headers["webhook-signature"].split(" ").filter((each) => each.startsWith("v1a,"));
  if (!signatures.some((each) => verify(null, content, key, Buffer.from(each.slice(4), "base64")))) {
    throw new Error("No matching signature found");
  }
}

function publicKey(known) {
  if (typeof known === "object") return createPublicKey({ key: known, format: "jwk" });
  const der = Buffer.concat([RAW_KEY_IN_DER, Buffer.from(known.slice("whpk_".length), "base64")]);
  return createPublicKey({ key: der, format: "der", type: "spki" });
}

const receivers = {
  standardwebhooks: ({ known, headers }, body) => new standardwebhooks.Webhook(known).verify(body, headers),
  svix: ({ known, headers }, body) => new svix.Webhook(known).verify(body, headers),
  "node:crypto": ({ known, headers }, body) => verifyByKey(publicKey(known), headers, body),
};

const now = Date.now;
const answers = JSON.parse(await text(process.stdin)).map((each) => {
  Date.now = () => now() + each.later_s * 1000;
  try {
    receivers[each.receiver](each, Buffer.from(each.body));
    return "taken";
  } catch (error) {
    return error.message;
  }
});
process.stdout.write(JSON.stringify(answers));
