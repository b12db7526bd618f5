// What a user of matrix-js-sdk does with keys: its Rust crypto, which forgets everything when the process ends.
//
// Told by lines of their own: {"event": "decrypted", …} (again when a key came late), {"event": "devices", "users": […]},
// {"event": "verification", "of": …, "phase": …}, {"event": "emoji", "of": …, "emoji": […]}.

import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { CryptoEvent, VerifierEvent, decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/index.js";
import { MatrixEventEvent } from "matrix-js-sdk";
import { RustBackupManager } from "matrix-js-sdk/lib/rust-crypto/backup.js";

// Clients wait for up to 10 s here, so that not all of them back up the same key at once. Tests don't.
RustBackupManager.maxBackupLoopStartDelayMillis = 0;

const SAS = "m.sas.v1";
const PHASES = [null, "unsent", "requested", "ready", "started", "cancelled", "done"];

// The key of the secret storage, once this user has made it or typed it.
let recoveryKey = null;

// Options of a client that is going to encrypt. `media`: the folder in which uploads are kept.
export const optionsWith = (media) => ({
    verificationMethods: [SAS],
    cryptoCallbacks: {
        getSecretStorageKey: async ({ keys }) => recoveryKey && [Object.keys(keys)[0], recoveryKey],
    },
    fetchFn: async (resource, request) => {
        const path = new URL(resource).pathname;
        if (path.endsWith("/upload") && path.startsWith("/_matrix/media/")) {
            const id = randomUUID();
            await writeFile(join(media, id), request.body);
            return Response.json({ content_uri: `mxc://localhost/${id}` });
        }
        if (path.startsWith("/_matrix/client/v1/media/download/")) {
            return new Response(await readFile(join(media, basename(path))));
        }
        return fetch(resource, request);
    },
});

// Begins a client's crypto, and returns the commands for it. `tell` writes a line, `described` an event; `authenticated`
// goes through interactive authentication.
export async function begin(client, { tell, described, authenticated }) {
    const verifications = new Map();
    // The emoji that are shown now, with what says that they are the same.
    const shown = new Map();

    function follow(request) {
        const id = request.transactionId;
        if (verifications.get(id) === request) return;
        verifications.set(id, request);
        let verifier;
        const look = () => {
            tell({
                event: "verification",
                of: id,
                user: request.otherUserId,
                device: request.otherDeviceId,
                phase: PHASES[request.phase],
                code: request.cancellationCode,
            });
            if (request.verifier && request.verifier !== verifier) {
                verifier = request.verifier;
                verifier.on(VerifierEvent.ShowSas, (sas) => {
                    shown.set(id, sas);
                    tell({ event: "emoji", of: id, emoji: sas.sas.emoji.map(([emoji]) => emoji) });
                });
                // How it ends is told by its phase.
                verifier.verify().catch(() => {});
            }
        };
        request.on("change", look);
        look();
    }

    await client.initRustCrypto({ useIndexedDB: false });
    const crypto = client.getCrypto();
    client.on(MatrixEventEvent.Decrypted, (event) => tell({ event: "decrypted", ...described(event) }));
    client.on(CryptoEvent.DevicesUpdated, (users) => tell({ event: "devices", users }));
    client.on(CryptoEvent.VerificationRequestReceived, follow);
    client.on(CryptoEvent.UserTrustStatusChanged, (user) => tell({ event: "trust", user }));

    return {
        // The devices of a user that this client knows of.
        devices: async ({ user }) => [...((await crypto.getUserDeviceInfo([user])).get(user)?.keys() ?? [])].sort(),
        // Who is in a room, once this client knows that the room is encrypted.
        membersIfEncrypted: ({ room: id }) => {
            const room = client.getRoom(id);
            return room?.hasEncryptionStateEvent() ? room.getJoinedMembers().map((it) => it.userId).sort() : null;
        },
        // What this client thinks of a user's device.
        deviceTrust: async ({ user, device }) => {
            const status = await crypto.getDeviceVerificationStatus(user, device);
            return status && { byOwner: status.signedByOwner, verified: status.crossSigningVerified };
        },
        // What this client thinks of a user's identity.
        userTrust: async ({ user }) => {
            const status = await crypto.getUserVerificationStatus(user);
            return { known: status.known, verified: status.isCrossSigningVerified() };
        },
        // Makes keys for cross-signing and publishes them; `reset` replaces those that there are.
        crossSign: ({ answers, reset = false }) =>
            crypto.bootstrapCrossSigning({
                setupNewCrossSigning: reset,
                authUploadDeviceSigningKeys: (publish) => authenticated(answers, {}, publish),
            }),
        // Makes the secret storage and a backup; returns the recovery key, as people write it down.
        backUp: async () => {
            const made = await crypto.createRecoveryKeyFromPassphrase();
            recoveryKey = made.privateKey;
            await crypto.bootstrapSecretStorage({
                createSecretStorageKey: async () => made,
                setupNewSecretStorage: true,
                setupNewKeyBackup: true,
            });
            return made.encodedPrivateKey;
        },
        // What a fresh device does with a recovery key: it signs itself, and fetches the keys of all messages.
        recover: async ({ key }) => {
            recoveryKey = decodeRecoveryKey(key);
            await crypto.bootstrapCrossSigning({});
            await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
            await crypto.checkKeyBackupAndEnable();
            const { total, imported } = await crypto.restoreKeyBackup();
            return { total, imported };
        },

        // Asks a user to verify each other in a room, or one of the user's devices, or (with neither) the own other devices.
        askToVerify: async ({ user, device, room }) => {
            const request = room
                ? await crypto.requestVerificationDM(user, room)
                : device
                  ? await crypto.requestDeviceVerification(user, device)
                  : await crypto.requestOwnUserVerification();
            follow(request);
            return request.transactionId;
        },
        acceptToVerify: ({ id }) => verifications.get(id).accept(),
        startEmoji: async ({ id }) => {
            await verifications.get(id).startVerification(SAS);
        },
        sameEmoji: ({ id }) => shown.get(id).confirm(),
        otherEmoji: ({ id }) => shown.get(id).mismatch(),
    };
}
