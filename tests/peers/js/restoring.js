// A client that goes on while its server goes back to an older copy of the database, driven line by line: it prints a word when
// it comes to a step, and goes on when it reads a line. In the end, its room keys are backed up again, and its one-time keys
// are new ones.
// Usage: node restoring.js BASE_URL

import readline from "node:readline";

for (const name of ["log", "info", "debug", "trace", "warn", "error"]) {
    console[name] = () => {};
}
const sdk = await import("matrix-js-sdk");
const { logger } = await import("matrix-js-sdk/lib/logger.js");
logger.setLevel("silent");

const baseUrl = process.argv[2];
const PATIENCE_MS = 60_000;
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function step(name) {
    process.stdout.write(`${name}\n`);
    await lines.next();
}

async function until(condition, what) {
    const end = Date.now() + PATIENCE_MS;
    while (!(await condition())) {
        if (Date.now() > end) throw new Error(`waited for ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

const registration = { username: "alice", password: "alice", auth: { type: "m.login.dummy" } };
const session = await sdk.createClient({ baseUrl }).registerRequest(registration);
const client = sdk.createClient({
    baseUrl,
    userId: session.user_id,
    deviceId: session.device_id,
    accessToken: session.access_token,
    cryptoCallbacks: { getSecretStorageKey: async () => null },
});
await client.initRustCrypto({ useIndexedDB: false });
await client.startClient();
const crypto = client.getCrypto();
await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (upload) => upload(null) });
await crypto.resetKeyBackup();

const backup = () => client.http.authedRequest("GET", "/room_keys/version");
const oneTimeKeys = async () => {
    const answer = await client.http.authedRequest("POST", "/keys/upload", undefined, {});
    return answer.one_time_key_counts.signed_curve25519 ?? 0;
};
const encryption = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

// Each room has a key of its own.
async function speakInANewRoom(expected) {
    const created = await client.createRoom({ preset: "private_chat", initial_state: [encryption] });
    await until(() => client.getRoom(created.room_id)?.hasEncryptionStateEvent(), "the room");
    await client.sendTextMessage(created.room_id, "hello");
    await until(async () => (await backup()).count >= expected, `${expected} keys in the backup`);
}

await speakInANewRoom(1);
await until(async () => (await oneTimeKeys()) >= 50, "one-time keys");
const { version } = await backup();
await step("copy");
await speakInANewRoom(2);
await step("put back");
if ((await backup()).count !== 1) throw new Error("the copy has other keys");
// Told that it is wrong about the backup, the client looks again and goes on with it. From IndexedDB it would back up the key
// that was lost, too; in memory it remembers of each key to which backup that went.
await speakInANewRoom(2);
if ((await backup()).version !== version) throw new Error("the backup is another one");
if ((await crypto.getActiveSessionBackupVersion()) !== version) throw new Error("the backup isn't used");
await until(async () => (await oneTimeKeys()) >= 50, "new one-time keys");
await step("done");
process.exit(0);
