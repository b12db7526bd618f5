//! Who is logged in, and in which rooms they are. In memory only, without passwords.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::SERVER_NAME;
use super::rooms::Room;

/// A token is this and a number.
const TOKEN: &str = "floor_";

/// Who has an account.
#[derive(Debug)]
pub(super) struct User {
    id: String,
    rooms: RwLock<HashMap<String, Arc<Room>>>,
}

impl User {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn join(&self, room: Arc<Room>) {
        self.rooms.write().insert(room.id().to_owned(), room);
    }

    /// A room that the user is in.
    pub(super) fn room(&self, room_id: &str) -> Option<Arc<Room>> {
        self.rooms.read().get(room_id).cloned()
    }

    pub(super) fn rooms(&self) -> Vec<Arc<Room>> {
        self.rooms.read().values().cloned().collect()
    }
}

/// A login.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: Arc<User>,
    pub(super) token: String,
    pub(super) device_id: String,
}

/// All users and logins.
#[derive(Debug, Default)]
pub(super) struct Users(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    by_name: HashMap<String, Arc<User>>,
    /// By the number in their tokens.
    sessions: Vec<Arc<User>>,
}

impl Users {
    /// Logs a user in, who is made if there is none of that name. Without a name it is one that nobody has.
    pub(super) fn log_in(&self, name: Option<&str>) -> Session {
        let mut state = self.0.write();
        let number = state.sessions.len();
        let name = name.map_or_else(|| number.to_string(), str::to_owned);
        let id = format!("@{name}:{SERVER_NAME}");
        let user = state.by_name.entry(name).or_insert_with(|| {
            Arc::new(User {
                id,
                rooms: RwLock::default(),
            })
        });
        let user = user.clone();
        state.sessions.push(user.clone());
        Session {
            user,
            token: format!("{TOKEN}{number}"),
            device_id: format!("DEVICE{number}"),
        }
    }

    /// Whose token it is.
    pub(super) fn by_token(&self, token: &str) -> Option<Arc<User>> {
        let number: usize = token.strip_prefix(TOKEN)?.parse().ok()?;
        self.0.read().sessions.get(number).cloned()
    }
}
