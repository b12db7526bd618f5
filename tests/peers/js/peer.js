// One user of matrix-js-sdk. A test drives it by lines of JSON on standard input, one answer line each on standard output:
//
//   {"id": 1, "do": "register", "with": {…}}   ->   {"id": 1, "ok": …}   or   {"id": 1, "error": {"errcode": …, "message": …}}
//
// What /sync brings is told by lines of their own: {"event": "timeline", …}, {"event": "sync", …}.
// Usage: node peer.js BASE_URL [MEDIA]
// With MEDIA the client encrypts: a folder, which stands in for the media repository that the server doesn't have yet.

import readline from "node:readline";

// Standard output is for the test; the library logs there too unless told otherwise, before it is loaded.
for (const name of ["log", "info", "debug", "trace", "warn", "error"]) {
    console[name] = (...words) => process.stderr.write(`${words.map(String).join(" ")}\n`);
}
const sdk = await import("matrix-js-sdk");
const { logger } = await import("matrix-js-sdk/lib/logger.js");
logger.setLevel("silent");

const baseUrl = process.argv[2];
const crypto = process.argv[3] ? await import("./crypto.js") : null;
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
let client = sdk.createClient({ baseUrl });

const described = (event) => ({
    event_id: event.getId(),
    room: event.getRoomId(),
    sender: event.getSender(),
    type: event.getType(),
    state_key: event.getStateKey(),
    content: event.getContent(),
    redacted: event.isRedacted(),
    // Of an encrypted event: its Megolm session, and why it can't be read.
    session: event.getWireContent().session_id,
    failure: event.decryptionFailureReason ?? undefined,
});

function onTimeline(event, room, toStart, removed, data) {
    if (!toStart && !removed && data.liveEvent && !event.status) {
        say({ event: "timeline", ...described(event) });
    }
}

// A session that begins: everything is done by a client that has its tokens.
async function use(session) {
    client = sdk.createClient({
        ...crypto?.optionsWith(process.argv[3]),
        baseUrl,
        userId: session.user_id,
        deviceId: session.device_id,
        accessToken: session.access_token,
        refreshToken: session.refresh_token,
        tokenRefreshFunction: session.refresh_token ? refresh : undefined,
    });
    client.on(sdk.RoomEvent.Timeline, onTimeline);
    // What this user sent is in the timeline from the start; only /sync takes its status away.
    client.on(sdk.RoomEvent.LocalEchoUpdated, (event) => {
        if (!event.status) say({ event: "timeline", ...described(event) });
    });
    client.on(sdk.RoomEvent.Redaction, (event) =>
        say({ event: "redaction", room: event.getRoomId(), redacts: event.event.redacts ?? event.getContent().redacts }),
    );
    client.on(sdk.RoomEvent.MyMembership, (room, membership) =>
        say({ event: "membership", room: room.roomId, membership }),
    );
    client.on(sdk.RoomMemberEvent.Typing, (_, member) =>
        say({ event: "typing", room: member.roomId, user: member.userId, typing: member.typing }),
    );
    client.on(sdk.RoomMemberEvent.Name, (_, member) =>
        say({ event: "name", room: member.roomId, user: member.userId, name: member.rawDisplayName }),
    );
    client.on(sdk.RoomEvent.Receipt, (event, room) =>
        say({ event: "receipt", room: room.roomId, content: event.getContent() }),
    );
    client.on(sdk.RoomEvent.AccountData, (event, room) =>
        say({ event: "data", room: room.roomId, type: event.getType(), content: event.getContent() }),
    );
    client.on(sdk.ClientEvent.AccountData, (event) =>
        say({ event: "data", room: null, type: event.getType(), content: event.getContent() }),
    );
    client.on(sdk.UserEvent.Presence, (_, user) =>
        say({ event: "presence", user: user.userId, presence: user.presence, status: user.presenceStatusMsg }),
    );
    client.on(sdk.ClientEvent.Sync, (state) => say({ event: "sync", state }));
    client.on(sdk.HttpApiEvent.SessionLoggedOut, () => say({ event: "logged out" }));
    if (crypto) {
        Object.assign(commands, await crypto.begin(client, { tell: say, described, authenticated }));
    }
    return { user_id: session.user_id, device_id: session.device_id };
}

async function refresh(token) {
    const answer = await sdk.createClient({ baseUrl }).refreshToken(token);
    say({ event: "refreshed" });
    return {
        accessToken: answer.access_token,
        refreshToken: answer.refresh_token,
        expiry: new Date(Date.now() + answer.expires_in_ms),
    };
}

// The library's own way through the stages that the server asks for. `answers`: what to say at each stage.
function authenticated(answers, inputs, doRequest) {
    return new Promise((resolve, reject) => {
        const auth = new sdk.InteractiveAuth({
            matrixClient: client,
            inputs,
            supportedStages: Object.keys(answers),
            doRequest,
            stateUpdated: (stage, status) => {
                if (status.errcode || status.error) {
                    // The library waits for another try; here there is none.
                    reject({ errcode: status.errcode, httpStatus: 401, message: status.error });
                } else if (answers[stage]) {
                    auth.submitAuthDict({ type: stage, session: auth.getSessionId(), ...answers[stage] });
                }
            },
            requestEmailToken: async () => ({ sid: "" }),
        });
        auth.attemptAuth().then(resolve, reject);
    });
}

// Makes this request of the client by interactive authentication; `how.before` are its arguments before the auth dict.
const withAuth = ({ method, before = [], after = [], answers }) =>
    authenticated(answers, {}, (auth) => client[method](...before, auth ?? undefined, ...after));

const roomOf = (id) => {
    const room = client.getRoom(id);
    if (!room) throw new Error(`the client does not know ${id}`);
    return room;
};

const commands = {
    register: async ({ username, password, answers }) =>
        use(
            await authenticated(answers, {}, (auth) =>
                client.registerRequest({ username, password, auth: auth ?? undefined, refresh_token: true }),
            ),
        ),
    login: async (request) => use(await client.loginRequest(request)),
    start: () => client.startClient({ initialSyncLimit: 20, pollTimeout: 10_000, threadSupport: true }),
    stop: () => client.stopClient(),
    call: ({ method, args = [] }) => client[method](...args),
    join: async ({ room }) => (await client.joinRoom(room)).roomId,
    withAuth,
    setPassword: ({ answers, password }) =>
        authenticated(answers, {}, (auth) => client.setPassword(auth ?? undefined, password)),
    room: ({ room: id }) => {
        const room = client.getRoom(id);
        return (
            room && {
                name: room.name,
                version: room.getVersion(),
                membership: room.getMyMembership(),
                joined: room.getJoinedMemberCount(),
                topic: room.currentState.getStateEvents("m.room.topic", "")?.getContent().topic,
                timeline: room.getLiveTimeline().getEvents().map(described),
            }
        );
    },
    // Says something, also if the server goes away meanwhile: then again, as the same transaction, until it is said.
    say: async ({ room: id, body }) => {
        const room = roomOf(id);
        const txn = client.makeTxnId();
        let request = client.sendMessage(id, { msgtype: "m.text", body }, txn);
        for (;;) {
            try {
                return (await request).event_id;
            } catch (error) {
                if (!(error instanceof sdk.ConnectionError)) throw error;
                await new Promise((resolve) => setTimeout(resolve, 50));
                const event = room.getLiveTimeline().getEvents().find((event) => event.getTxnId() === txn);
                // /sync may have told of it already.
                if (!event.status) return event.getId();
                request = client.resendEvent(event, room);
            }
        }
    },
    // How much there is to read in a room, or in one of its threads.
    unread: ({ room: id, thread }) => {
        const room = roomOf(id);
        const count = (kind) =>
            thread ? room.getThreadUnreadNotificationCount(thread, kind) : room.getRoomUnreadNotificationCount(kind);
        return { total: count("total"), highlight: count("highlight") };
    },
    // Says that an event in the client's timeline was read.
    read: ({ room: id, event, type }) => client.sendReadReceipt(roomOf(id).findEventById(event), type),
    // All of a room's history that the server gives, oldest first.
    history: async ({ room: id }) => {
        const room = roomOf(id);
        while (room.oldState.paginationToken !== null) await client.scrollback(room, 7);
        const events = room.getLiveTimeline().getEvents();
        await Promise.all(events.map((event) => client.decryptEventIfNeeded(event)));
        return events.map(described);
    },
    exit: () => setImmediate(() => process.exit(0)),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, do: name, with: request = {} } = JSON.parse(line);
    Promise.resolve()
        .then(() => commands[name](request))
        .then((ok) => say({ id, ok: ok ?? null }))
        .catch((error) =>
            say({ id, error: { errcode: error.errcode, status: error.httpStatus, message: String(error.message ?? error) } }),
        );
}
process.exit(0);
