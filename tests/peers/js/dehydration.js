// Alice has a dehydrated device (matrix-js-sdk makes it) and logs out of her only other one; what Bob says meanwhile in an
// encrypted room she reads after her next login. Prints what she reads, as JSON.
// Usage: node dehydration.js BASE_URL

for (const name of ["log", "info", "debug", "trace", "warn", "error"]) {
    console[name] = () => {};
}
const sdk = await import("matrix-js-sdk");
const { logger } = await import("matrix-js-sdk/lib/logger.js");
logger.setLevel("silent");

const baseUrl = process.argv[2];
const PATIENCE_MS = 30_000;
// Alice's key to her secret storage, which she remembers.
const storageKeys = {};

async function until(condition, what) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
        const found = await condition();
        if (found) return found;
        if (Date.now() > end) throw new Error(`waited for ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

async function begin(session) {
    const client = sdk.createClient({
        baseUrl,
        userId: session.user_id,
        deviceId: session.device_id,
        accessToken: session.access_token,
        cryptoCallbacks: {
            getSecretStorageKey: async ({ keys }) => {
                const id = Object.keys(keys).find((key) => storageKeys[key]);
                return id ? [id, storageKeys[id]] : null;
            },
            cacheSecretStorageKey: (id, _, key) => {
                storageKeys[id] = key;
            },
        },
    });
    await client.initRustCrypto({ useIndexedDB: false });
    const synced = new Promise((resolve) => client.once("sync", resolve));
    await client.startClient();
    await synced;
    return client;
}

async function register(username) {
    const auth = { type: "m.login.dummy" };
    return begin(await sdk.createClient({ baseUrl }).registerRequest({ username, password: username, auth }));
}

const alice = await register("alice");
const crypto = alice.getCrypto();
await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (upload) => upload(null) });
await crypto.bootstrapSecretStorage({ createSecretStorageKey: () => crypto.createRecoveryKeyFromPassphrase() });
await crypto.startDehydration();

const bob = await register("bob");
const encryption = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
const created = await bob.createRoom({ preset: "public_chat", initial_state: [encryption] });
const room = created.room_id;
await alice.joinRoom(room);
await until(() => bob.getRoom(room)?.getMember(alice.getUserId())?.membership === "join", "Alice in the room");
const ordinary = alice.getDeviceId();
await alice.logout(true);
await until(async () => {
    const devices = await bob.getCrypto().getUserDeviceInfo([alice.getUserId()], true);
    return !devices.get(alice.getUserId()).has(ordinary);
}, "Alice's device to be gone");
const { event_id: said } = await bob.sendTextMessage(room, "while nobody was there");

const login = { identifier: { type: "m.id.user", user: "alice" }, password: "alice" };
const again = await begin(await sdk.createClient({ baseUrl }).login("m.login.password", login));
const found = again.getCrypto();
await found.userHasCrossSigningKeys(alice.getUserId(), true);
await found.bootstrapCrossSigning({});
await found.startDehydration();
const event = () => again.getRoom(room)?.findEventById(said);
await until(() => event()?.getContent().body && !event().isDecryptionFailure(), "the message");
process.stdout.write(`${JSON.stringify(event().getContent())}\n`);
process.exit(0);
